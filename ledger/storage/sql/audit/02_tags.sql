-- Every tag by its key in the tag index: how many events it has, the last one's index, and the head over all of them.
CREATE TABLE tags (
    key BLOB PRIMARY KEY,
    n INTEGER NOT NULL,
    last INTEGER NOT NULL,
    head BLOB NOT NULL
) STRICT, WITHOUT ROWID;
