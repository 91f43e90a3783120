-- The log: entry bytes by index (0-based, contiguous), exactly as they were hashed; leaf = SHA-256(0x00 || entry).
CREATE TABLE events (
    idx INTEGER PRIMARY KEY,
    type INTEGER NOT NULL,
    entry BLOB NOT NULL,
    leaf BLOB NOT NULL CHECK (length(leaf) = 32)
) STRICT;
