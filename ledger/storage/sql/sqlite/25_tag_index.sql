-- How far the tag index is. Derived, as are its other tables: changed in place, and compared by `prooftrail verify`.
CREATE TABLE tag_index (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    size INTEGER NOT NULL,
    tags INTEGER NOT NULL,
    revision INTEGER NOT NULL
) STRICT;
