-- Parts of the tag index (the first 20 bits of a key) whose leaves changed since their packs were made.
CREATE TABLE tag_index_marks (
    mark INTEGER PRIMARY KEY
) STRICT;
