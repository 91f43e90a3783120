-- Parts of the tag index (the first 20 bits of a key) whose leaves changed since their packs were made.
CREATE TABLE {schema}.tag_index_marks (
    mark integer PRIMARY KEY
)
