-- The n-th event of each tag. The last row of a tag is its head: count and previous index come from one look-up.
CREATE TABLE {schema}.event_tags (
    tag text COLLATE "C" NOT NULL,
    idx bigint NOT NULL,
    n bigint NOT NULL,
    type integer NOT NULL,
    PRIMARY KEY (tag, idx)
)
