GRANT SELECT, INSERT ON {schema}.idempotency TO prooftrail_app
