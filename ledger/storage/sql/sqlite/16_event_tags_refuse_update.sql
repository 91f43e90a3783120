CREATE TRIGGER event_tags_refuse_update BEFORE UPDATE ON event_tags
BEGIN
    SELECT RAISE(ABORT, 'event_tags are facts: they are inserted, never changed or deleted');
END;
