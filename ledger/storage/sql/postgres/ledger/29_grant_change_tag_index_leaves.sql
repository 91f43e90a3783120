GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.tag_index_leaves TO prooftrail_app
