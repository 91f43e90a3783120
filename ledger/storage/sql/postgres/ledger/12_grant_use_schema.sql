GRANT USAGE ON SCHEMA {schema} TO prooftrail_app
