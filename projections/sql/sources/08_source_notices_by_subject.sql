CREATE INDEX source_notices_by_subject ON source_notices (subject, idx);
