-- The people on record, by the index of their registration.
CREATE TABLE subjects (
    idx INTEGER PRIMARY KEY,
    subject TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    role TEXT NOT NULL,
    client TEXT
) STRICT;
