-- Which event set which field, and when it is true; never the value: that is opened from the ledger.
CREATE TABLE field_versions (
    idx INTEGER NOT NULL,
    field TEXT NOT NULL,
    subject TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    valid_from TEXT,
    retention_class TEXT NOT NULL,
    purpose TEXT,
    basis TEXT,
    source TEXT,
    source_reference TEXT,
    channel TEXT,
    PRIMARY KEY (idx, field)
) STRICT, WITHOUT ROWID;
