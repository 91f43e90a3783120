-- Every registration and ending of a recipient; what an ending does not say is NULL. A sole trader has no name here.
CREATE TABLE recipients (
    idx INTEGER PRIMARY KEY,
    recipient TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    category TEXT,
    name TEXT,
    subject TEXT,
    country TEXT,
    contract TEXT,
    transfer_basis TEXT,
    valid_from TEXT,
    valid_to TEXT,
    reason TEXT
);
