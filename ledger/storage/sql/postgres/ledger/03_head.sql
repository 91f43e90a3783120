-- One row, the only one that is ever updated: whose UPDATE has it, writes. Size of the log, moment of its last entry.
-- Half of the page stays free, so that an update finds its place beside the row (HOT) and vacuum has nothing to do.
CREATE TABLE {schema}.head (
    one smallint PRIMARY KEY CHECK (one = 1),
    size bigint NOT NULL,
    recorded_at text COLLATE "C" NOT NULL
) WITH (fillfactor = 50)
