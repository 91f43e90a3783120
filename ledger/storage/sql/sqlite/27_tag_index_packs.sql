-- The inner nodes of the tag index, sixteen subtrees in a row; where few tags stand there is no row.
CREATE TABLE tag_index_packs (
    place BLOB PRIMARY KEY,
    nodes BLOB NOT NULL
) STRICT, WITHOUT ROWID;
