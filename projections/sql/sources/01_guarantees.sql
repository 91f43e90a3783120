CREATE TABLE guarantees (
    idx INTEGER PRIMARY KEY,
    guarantee TEXT NOT NULL,
    source TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    valid_to TEXT NOT NULL
);
