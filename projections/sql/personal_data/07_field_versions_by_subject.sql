CREATE INDEX field_versions_by_subject ON field_versions (subject, idx);
