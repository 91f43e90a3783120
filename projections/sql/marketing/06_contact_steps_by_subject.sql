CREATE INDEX contact_steps_by_subject ON contact_steps (subject, idx);
