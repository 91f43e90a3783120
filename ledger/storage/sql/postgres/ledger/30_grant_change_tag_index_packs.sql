GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.tag_index_packs TO prooftrail_app
