-- One row: the size of the log up to which its key destructions are carried out here.
CREATE TABLE {schema}.erasures (
    one smallint PRIMARY KEY CHECK (one = 1),
    applied_to bigint NOT NULL
)
