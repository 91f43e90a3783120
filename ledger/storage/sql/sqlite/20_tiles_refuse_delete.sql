CREATE TRIGGER tiles_refuse_delete BEFORE DELETE ON tiles
BEGIN
    SELECT RAISE(ABORT, 'tiles are facts: they are inserted, never changed or deleted');
END;
