-- What recipients are to be told: a field corrected, a retention class erased, a field called back from one recipient.
CREATE TABLE changed_fields (
    idx INTEGER NOT NULL,
    name TEXT NOT NULL,
    subject TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    cause TEXT NOT NULL,
    recipient TEXT,
    PRIMARY KEY (idx, name)
);
