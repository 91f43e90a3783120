CREATE INDEX hold_steps_by_subject ON hold_steps (subject, idx);
