CREATE INDEX consents_withdrawn_by_subject ON consents_withdrawn (subject, idx);
