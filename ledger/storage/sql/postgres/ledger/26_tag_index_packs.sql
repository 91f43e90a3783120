-- The inner nodes of the tag index, sixteen subtrees in a row; where few tags stand there is no row.
CREATE TABLE {schema}.tag_index_packs (
    place bytea PRIMARY KEY,
    nodes bytea NOT NULL
)
