-- How far each projection is: it has taken in every entry below `position`. Another version means other tables.
CREATE TABLE projection (
    name TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
