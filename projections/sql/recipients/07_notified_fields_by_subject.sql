CREATE INDEX notified_fields_by_subject ON notified_fields (subject, idx);
