CREATE INDEX batch_records_by_batch ON batch_records (batch);
