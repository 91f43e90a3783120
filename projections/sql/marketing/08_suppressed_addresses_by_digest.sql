CREATE INDEX suppressed_addresses_by_digest ON suppressed_addresses (digest);
