-- Full 256-wide tiles of the Merkle tree (C2SP tlog-tiles); the partial right edge follows from the leaves.
CREATE TABLE tiles (
    level INTEGER NOT NULL,
    n INTEGER NOT NULL,
    hashes BLOB NOT NULL CHECK (length(hashes) = 8192),
    PRIMARY KEY (level, n)
) STRICT;
