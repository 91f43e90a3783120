-- Every step of every disclosure; what a step does not say is NULL. `fields` and `statute` are JSON.
CREATE TABLE disclosure_steps (
    idx INTEGER PRIMARY KEY,
    disclosure TEXT NOT NULL,
    subject TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    stage TEXT NOT NULL,
    actor TEXT NOT NULL,
    role TEXT NOT NULL,
    recipient TEXT,
    purpose TEXT,
    basis TEXT,
    fields TEXT,
    statute TEXT,
    consent TEXT,
    expires_at TEXT,
    reason TEXT,
    secret_until TEXT
) STRICT;
