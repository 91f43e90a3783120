-- What each witness said of which checkpoint, and when: the signature line as it came (C2SP tlog-cosignature).
CREATE TABLE cosignatures (
    size INTEGER NOT NULL,
    witness TEXT NOT NULL,
    time_s INTEGER NOT NULL,
    line TEXT NOT NULL,
    PRIMARY KEY (size, witness)
) STRICT, WITHOUT ROWID;
