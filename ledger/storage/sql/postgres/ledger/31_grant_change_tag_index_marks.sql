GRANT SELECT, INSERT, DELETE ON {schema}.tag_index_marks TO prooftrail_app
