-- One row: how far a log was audited, under which signed checkpoint, and which keys sign it by what it says.
CREATE TABLE audited (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    origin TEXT NOT NULL,
    size INTEGER NOT NULL,
    recorded_at TEXT NOT NULL,
    keys TEXT NOT NULL,
    seen_size INTEGER NOT NULL,
    seen_root BLOB NOT NULL,
    seen_note BLOB NOT NULL
) STRICT;
