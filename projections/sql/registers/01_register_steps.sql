-- Which events belong to a register, and what they are about there.
CREATE TABLE register_steps (
    idx INTEGER NOT NULL,
    register TEXT NOT NULL,
    about TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    PRIMARY KEY (register, about, idx)
) STRICT, WITHOUT ROWID;
