CREATE INDEX order_steps_by_order ON order_steps (order_id, idx);
