CREATE TRIGGER idempotency_refuse_update BEFORE UPDATE ON idempotency
BEGIN
    SELECT RAISE(ABORT, 'an idempotency key stands for ever');
END;
