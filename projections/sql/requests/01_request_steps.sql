-- Every step of every request; what a step does not say is NULL. `fields` is a JSON array.
CREATE TABLE request_steps (
    idx INTEGER PRIMARY KEY,
    request TEXT NOT NULL,
    subject TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    topic TEXT NOT NULL,
    kind TEXT,
    channel TEXT,
    received_at TEXT,
    due_at TEXT,
    client TEXT,
    purpose TEXT,
    fields TEXT,
    word TEXT,
    proof INTEGER
) STRICT;
