CREATE INDEX request_steps_by_subject ON request_steps (subject, idx);
