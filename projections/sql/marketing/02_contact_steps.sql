-- What decides whether an offer may go to a person: ledger/state/marketing.py says what a step is.
CREATE TABLE contact_steps (
    idx INTEGER NOT NULL,
    n INTEGER NOT NULL,
    subject TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    what TEXT NOT NULL,
    about TEXT NOT NULL,
    kind TEXT NOT NULL,
    more TEXT NOT NULL,
    PRIMARY KEY (idx, n)
);
