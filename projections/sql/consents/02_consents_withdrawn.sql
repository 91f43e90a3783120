-- Withdrawals: they hold from their place in the log on.
CREATE TABLE consents_withdrawn (
    idx INTEGER PRIMARY KEY,
    consent TEXT NOT NULL,
    subject TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    channel TEXT NOT NULL
) STRICT;
