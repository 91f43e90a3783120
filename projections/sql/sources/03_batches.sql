-- Every batch; `reason` is why it is quarantined, NULL when it was imported.
CREATE TABLE batches (
    idx INTEGER PRIMARY KEY,
    batch TEXT NOT NULL,
    source TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    guarantee TEXT,
    reason TEXT
);
