GRANT SELECT, INSERT ON {schema}.event_types TO prooftrail_app
