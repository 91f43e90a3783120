-- The n-th event of each tag. The last row of a tag is its head: count and previous index come from one look-up.
CREATE TABLE event_tags (
    tag TEXT NOT NULL,
    idx INTEGER NOT NULL,
    n INTEGER NOT NULL,
    type INTEGER NOT NULL,
    PRIMARY KEY (tag, idx)
) STRICT, WITHOUT ROWID;
