-- Full 256-wide tiles of the Merkle tree (C2SP tlog-tiles); the partial right edge follows from the leaves.
CREATE TABLE {schema}.tiles (
    level smallint NOT NULL,
    n bigint NOT NULL,
    hashes bytea NOT NULL CHECK (octet_length(hashes) = 8192),
    PRIMARY KEY (level, n)
);
ALTER TABLE {schema}.tiles ALTER COLUMN hashes SET STORAGE EXTERNAL
