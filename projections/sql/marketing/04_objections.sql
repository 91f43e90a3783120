CREATE TABLE objections (
    idx INTEGER PRIMARY KEY,
    subject TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    received_at TEXT NOT NULL,
    channel TEXT NOT NULL
);
