CREATE INDEX disclosure_steps_by_subject ON disclosure_steps (subject, idx);
