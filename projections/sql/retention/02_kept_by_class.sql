CREATE INDEX kept_by_class ON kept (retention_class, subject, idx);
