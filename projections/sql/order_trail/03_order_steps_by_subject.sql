CREATE INDEX order_steps_by_subject ON order_steps (subject, idx);
