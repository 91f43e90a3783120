GRANT SELECT, INSERT, DELETE ON {schema}.sealed TO prooftrail_app
