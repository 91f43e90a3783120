CREATE INDEX changed_fields_by_subject ON changed_fields (subject, idx);
