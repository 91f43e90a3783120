CREATE INDEX restriction_steps_by_subject ON restriction_steps (subject, idx);
