-- Secrets of the ledger by name, wrapped by the key-encryption key; `kek` is the check value that tells a wrong one.
CREATE TABLE {schema}.secrets (
    name text COLLATE "C" PRIMARY KEY,
    wrapped bytea NOT NULL
)
