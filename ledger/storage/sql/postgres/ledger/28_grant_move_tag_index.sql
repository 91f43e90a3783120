GRANT SELECT, UPDATE ON {schema}.tag_index TO prooftrail_app
