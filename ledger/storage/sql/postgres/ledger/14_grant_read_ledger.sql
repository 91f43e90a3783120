GRANT SELECT ON {schema}.ledger TO prooftrail_app
