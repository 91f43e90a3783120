-- Destroyed keys: what stood before in that retention class of the subject is erased.
CREATE TABLE erasures (
    idx INTEGER PRIMARY KEY,
    subject TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    retention_class TEXT NOT NULL
) STRICT;
