CREATE INDEX events_by_type ON {schema}.events (type, idx)
