-- One row a tag, in the order of the tree: how many events it has, and the head that their leaf hashes lead to.
CREATE TABLE {schema}.tag_index_leaves (
    key bytea PRIMARY KEY CHECK (octet_length(key) = 32),
    n bigint NOT NULL,
    head bytea NOT NULL CHECK (octet_length(head) = 32)
)
