GRANT SELECT, UPDATE ON {schema}.head TO prooftrail_app
