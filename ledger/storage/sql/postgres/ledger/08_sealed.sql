-- Personal values, encrypted. The one table of facts that may be deleted from: that is what erasure does.
CREATE TABLE {schema}.sealed (
    idx bigint NOT NULL,
    key_id text COLLATE "C" NOT NULL,
    box bytea NOT NULL,
    PRIMARY KEY (idx, key_id)
);
ALTER TABLE {schema}.sealed ALTER COLUMN box SET STORAGE EXTERNAL
