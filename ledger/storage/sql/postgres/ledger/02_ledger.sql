-- One row: which log this is. The verifier key is public; the signing key is never in the database.
CREATE TABLE {schema}.ledger (
    one smallint PRIMARY KEY CHECK (one = 1),
    origin text COLLATE "C" NOT NULL,
    verifier text COLLATE "C" NOT NULL
)
