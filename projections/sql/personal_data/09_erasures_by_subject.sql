CREATE INDEX erasures_by_subject ON erasures (subject, idx);
