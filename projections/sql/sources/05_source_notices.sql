-- When data of a person came from elsewhere (informed 0), and when the person was told (informed 1): GDPR Art. 14.
CREATE TABLE source_notices (
    idx INTEGER PRIMARY KEY,
    subject TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    informed INTEGER NOT NULL
);
