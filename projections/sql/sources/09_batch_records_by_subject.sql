CREATE INDEX batch_records_by_subject ON batch_records (subject, idx);
