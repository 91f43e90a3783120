-- Keyed digests of identifiers. Clustered by key, as the destruction of a key is what deletes them.
CREATE TABLE identifiers (
    key_id TEXT NOT NULL,
    idx INTEGER NOT NULL,
    kind TEXT NOT NULL,
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    subject TEXT NOT NULL,
    PRIMARY KEY (key_id, idx, kind)
) STRICT, WITHOUT ROWID;
