INSERT INTO {schema}.tag_index VALUES (1, 0, 0, 0)
