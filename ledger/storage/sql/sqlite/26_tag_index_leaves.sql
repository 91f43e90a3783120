-- One row a tag, in the order of the tree: how many events it has, and the head that their leaf hashes lead to.
CREATE TABLE tag_index_leaves (
    key BLOB PRIMARY KEY CHECK (length(key) = 32),
    n INTEGER NOT NULL,
    head BLOB NOT NULL CHECK (length(head) = 32)
) STRICT, WITHOUT ROWID;
