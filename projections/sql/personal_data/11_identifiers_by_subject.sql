CREATE INDEX identifiers_by_subject ON identifiers (subject, digest, idx);
