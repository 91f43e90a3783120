CREATE TRIGGER event_types_refuse_delete BEFORE DELETE ON event_types
BEGIN
    SELECT RAISE(ABORT, 'event_types are facts: they are inserted, never changed or deleted');
END;
