CREATE TRIGGER ledger_refuse_delete BEFORE DELETE ON ledger
BEGIN
    SELECT RAISE(ABORT, 'what a log is called never changes');
END;
