-- Whose data came with which batch; `reason` is why a record was not taken in.
CREATE TABLE batch_records (
    idx INTEGER PRIMARY KEY,
    batch TEXT NOT NULL,
    subject TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    reason TEXT
);
