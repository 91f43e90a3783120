GRANT SELECT ON {schema}.migrations TO prooftrail_app
