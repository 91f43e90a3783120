-- One signed checkpoint a transaction (C2SP tlog-checkpoint).
CREATE TABLE checkpoints (
    size INTEGER PRIMARY KEY,
    note BLOB NOT NULL
) STRICT;
