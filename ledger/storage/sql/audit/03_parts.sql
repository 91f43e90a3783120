-- The 65,536 parts of the tag index by the first 16 bits of a key: the hash of each, and whether it has two tags or more.
CREATE TABLE parts (
    part INTEGER PRIMARY KEY,
    hash BLOB NOT NULL,
    many INTEGER NOT NULL
) STRICT;
