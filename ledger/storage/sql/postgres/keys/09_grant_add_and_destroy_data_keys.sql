GRANT SELECT, INSERT, DELETE ON {schema}.data_keys TO prooftrail_keys
