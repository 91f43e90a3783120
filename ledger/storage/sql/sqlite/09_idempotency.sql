-- Keyed digests of idempotency key and content (never the key itself): which entries a request made, for ever.
CREATE TABLE idempotency (
    key BLOB PRIMARY KEY,
    content BLOB NOT NULL,
    first INTEGER NOT NULL,
    count INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
