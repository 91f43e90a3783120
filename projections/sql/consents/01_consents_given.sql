-- Consents as they were given; `fields` is a JSON array.
CREATE TABLE consents_given (
    idx INTEGER PRIMARY KEY,
    consent TEXT NOT NULL,
    subject TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    purpose TEXT NOT NULL,
    recipient TEXT,
    fields TEXT NOT NULL,
    text_sha256 TEXT NOT NULL,
    language TEXT NOT NULL,
    channel TEXT NOT NULL
) STRICT;
