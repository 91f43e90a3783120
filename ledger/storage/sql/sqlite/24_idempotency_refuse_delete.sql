CREATE TRIGGER idempotency_refuse_delete BEFORE DELETE ON idempotency
BEGIN
    SELECT RAISE(ABORT, 'an idempotency key stands for ever');
END;
