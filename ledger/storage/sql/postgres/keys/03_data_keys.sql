-- Data keys, wrapped. Erasure deletes rows; autovacuum looks in after a single one, so that the page is soon cleared.
CREATE TABLE {schema}.data_keys (
    key_id text COLLATE "C" PRIMARY KEY,
    subject_id text COLLATE "C" NOT NULL,
    role text COLLATE "C" NOT NULL,
    retention_class text COLLATE "C" NOT NULL,
    wrapped bytea NOT NULL,
    UNIQUE (subject_id, role, retention_class)
) WITH (autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0)
