GRANT SELECT, UPDATE ON {schema}.erasures TO prooftrail_keys
