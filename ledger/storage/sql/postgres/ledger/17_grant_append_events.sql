GRANT SELECT, INSERT ON {schema}.events TO prooftrail_app
