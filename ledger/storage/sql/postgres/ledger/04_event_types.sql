-- The topics, numbered, so that events and tags carry a small integer.
CREATE TABLE {schema}.event_types (
    code integer PRIMARY KEY,
    type text COLLATE "C" NOT NULL UNIQUE
)
