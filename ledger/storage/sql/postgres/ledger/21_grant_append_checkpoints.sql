GRANT SELECT, INSERT ON {schema}.checkpoints TO prooftrail_app
