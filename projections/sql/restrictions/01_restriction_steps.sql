-- Restrictions, proposals, statements and address notices; what a step does not say is NULL. `fields` is a JSON array.
CREATE TABLE restriction_steps (
    idx INTEGER PRIMARY KEY,
    subject TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    topic TEXT NOT NULL,
    id TEXT,
    ground TEXT,
    channel TEXT NOT NULL,
    fields TEXT,
    entry INTEGER
) STRICT;
