-- Which steps made this schema: the number, name and SHA-256 of each file, in order. The version is the last number.
CREATE TABLE {schema}.migrations (
    step integer PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    digest bytea NOT NULL
)
