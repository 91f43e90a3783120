-- What a recipient was told.
CREATE TABLE notified_fields (
    idx INTEGER NOT NULL,
    field TEXT NOT NULL,
    subject TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    recipient TEXT NOT NULL,
    cause TEXT NOT NULL,
    PRIMARY KEY (idx, field)
);
