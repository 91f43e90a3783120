-- The log: entry bytes by index (0-based, contiguous), exactly as they were hashed; leaf = SHA-256(0x00 || entry).
CREATE TABLE {schema}.events (
    idx bigint PRIMARY KEY,
    type integer NOT NULL,
    entry bytea NOT NULL,
    leaf bytea NOT NULL CHECK (octet_length(leaf) = 32)
)
