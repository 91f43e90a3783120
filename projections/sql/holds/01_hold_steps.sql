-- Legal holds: placed, reviewed, released. `classes` is a JSON array.
CREATE TABLE hold_steps (
    idx INTEGER PRIMARY KEY,
    hold TEXT NOT NULL,
    subject TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    topic TEXT NOT NULL,
    case_id TEXT,
    ground TEXT,
    owner TEXT,
    review_at TEXT,
    classes TEXT
) STRICT;
