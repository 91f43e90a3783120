GRANT SELECT, INSERT ON {schema}.event_tags TO prooftrail_app
