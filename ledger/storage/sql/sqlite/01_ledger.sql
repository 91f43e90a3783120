-- One row: which log this is. The verifier key is public; the signing key is never in the database.
CREATE TABLE ledger (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    origin TEXT NOT NULL,
    verifier TEXT NOT NULL
) STRICT;
