-- What became of each offer; `reason` is why one was suppressed.
CREATE TABLE offers (
    idx INTEGER PRIMARY KEY,
    campaign TEXT NOT NULL,
    subject TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    what TEXT NOT NULL,
    reason TEXT
);
