-- The checkpoint of each log that was cosigned last: nothing is cosigned that does not extend it.
CREATE TABLE cosigned (
    origin TEXT PRIMARY KEY,
    size INTEGER NOT NULL,
    root BLOB NOT NULL,
    note BLOB NOT NULL
) STRICT, WITHOUT ROWID;
