-- Checkpoints that a log signed and that were refused: where one is another tree, it is evidence against the log.
CREATE TABLE refused (
    origin TEXT NOT NULL,
    size INTEGER NOT NULL,
    root BLOB NOT NULL,
    note BLOB NOT NULL,
    PRIMARY KEY (origin, size, root)
) STRICT, WITHOUT ROWID;
