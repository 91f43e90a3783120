-- What is sealed under a key of a person and retention class, and which entries destroyed such keys.
CREATE TABLE kept (
    idx INTEGER PRIMARY KEY,
    subject TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    retention_class TEXT NOT NULL,
    destroyed INTEGER NOT NULL
) STRICT;
