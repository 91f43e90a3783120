CREATE TRIGGER ledger_refuse_update BEFORE UPDATE ON ledger
BEGIN
    SELECT RAISE(ABORT, 'what a log is called never changes');
END;
