-- Which field of whom went to whom. `disclosure` is NULL where it went to a processor, `purpose` where to others.
CREATE TABLE sent_fields (
    idx INTEGER NOT NULL,
    field TEXT NOT NULL,
    subject TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    recipient TEXT NOT NULL,
    disclosure TEXT,
    purpose TEXT,
    PRIMARY KEY (idx, field)
);
