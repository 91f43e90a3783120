CREATE TRIGGER sealed_refuse_update BEFORE UPDATE ON sealed
BEGIN
    SELECT RAISE(ABORT, 'a sealed value may be deleted, never changed');
END;
