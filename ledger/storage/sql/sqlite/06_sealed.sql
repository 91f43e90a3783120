-- Personal values, encrypted. The one table of facts that may be deleted from: that is what erasure does.
CREATE TABLE sealed (
    idx INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    box BLOB NOT NULL,
    PRIMARY KEY (idx, key_id)
) STRICT;
