-- One signed checkpoint a transaction (C2SP tlog-checkpoint).
CREATE TABLE {schema}.checkpoints (
    size bigint PRIMARY KEY,
    note bytea NOT NULL
)
