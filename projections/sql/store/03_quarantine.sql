-- Entries that a projection could not take in, and the class of the error. Never its text: that may name a person.
CREATE TABLE quarantine (
    idx INTEGER NOT NULL,
    projection TEXT NOT NULL,
    error TEXT NOT NULL,
    PRIMARY KEY (idx, projection)
) STRICT, WITHOUT ROWID;
