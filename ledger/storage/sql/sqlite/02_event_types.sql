-- The topics, numbered, so that events and tags carry a small integer.
CREATE TABLE event_types (
    code INTEGER PRIMARY KEY,
    type TEXT NOT NULL UNIQUE
) STRICT;
