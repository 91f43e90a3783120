-- Which event said by which kind of identifier a subject is known.
CREATE TABLE links (
    idx INTEGER PRIMARY KEY,
    subject TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    kind TEXT NOT NULL
) STRICT;
