CREATE TABLE guarantee_revocations (
    idx INTEGER PRIMARY KEY,
    guarantee TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    reason TEXT NOT NULL
);
