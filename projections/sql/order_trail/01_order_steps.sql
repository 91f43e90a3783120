-- Every step of every order, by what identifies it; what it says and its bytes are opened from the ledger.
CREATE TABLE order_steps (
    idx INTEGER PRIMARY KEY,
    order_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    client TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    topic TEXT NOT NULL,
    case_id TEXT,
    received_at TEXT,
    terms_version TEXT
) STRICT;
