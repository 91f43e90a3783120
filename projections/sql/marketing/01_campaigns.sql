CREATE TABLE campaigns (
    idx INTEGER PRIMARY KEY,
    campaign TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    kind TEXT NOT NULL,
    channel TEXT NOT NULL,
    is_similar INTEGER NOT NULL,
    opt_out TEXT NOT NULL,
    partner TEXT
);
