CREATE INDEX consents_given_by_subject ON consents_given (subject, idx);
