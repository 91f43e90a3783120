GRANT SELECT, INSERT ON {schema}.tiles TO prooftrail_app
