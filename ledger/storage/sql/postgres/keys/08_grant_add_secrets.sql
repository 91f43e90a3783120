GRANT SELECT, INSERT ON {schema}.secrets TO prooftrail_keys
