CREATE INDEX identifiers_by_digest ON identifiers (digest);
