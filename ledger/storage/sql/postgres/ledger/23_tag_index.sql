-- How far the tag index is: one row, and who holds it changes the index. Derived from the log, as are its other
-- tables: changed in place, and compared by `prooftrail verify`.
CREATE TABLE {schema}.tag_index (
    one smallint PRIMARY KEY CHECK (one = 1),
    size bigint NOT NULL,
    tags bigint NOT NULL,
    revision bigint NOT NULL
) WITH (fillfactor = 50)
