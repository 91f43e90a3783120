-- The registers and issuers that data may come from; none is a person.
CREATE TABLE sources (
    idx INTEGER PRIMARY KEY,
    source TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    locator TEXT
);
