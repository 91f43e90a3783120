CREATE INDEX sent_fields_by_subject ON sent_fields (subject, idx);
