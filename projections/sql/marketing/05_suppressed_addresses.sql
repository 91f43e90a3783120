-- Keyed digests of addresses that are to get no offers: the same digests as in identifiers.
CREATE TABLE suppressed_addresses (
    idx INTEGER NOT NULL,
    digest BLOB NOT NULL,
    subject TEXT NOT NULL,
    PRIMARY KEY (idx, digest)
);
