INSERT INTO {schema}.erasures VALUES (1, 0)
