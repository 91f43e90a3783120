-- Keyed digests of idempotency key and content (never the key itself): which entries a request made, for ever.
CREATE TABLE {schema}.idempotency (
    key bytea PRIMARY KEY,
    content bytea NOT NULL,
    first bigint NOT NULL,
    count integer NOT NULL
)
