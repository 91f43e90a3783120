GRANT SELECT ON {schema}.migrations TO prooftrail_keys
