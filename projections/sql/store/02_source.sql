-- One row: which log this was built from, and the leaf hash of the last entry taken in (empty at position 0).
CREATE TABLE source (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    origin TEXT NOT NULL,
    leaf BLOB NOT NULL
) STRICT;
