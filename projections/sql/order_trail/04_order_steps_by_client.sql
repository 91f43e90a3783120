CREATE INDEX order_steps_by_client ON order_steps (client, idx) WHERE topic = 'order-recorded';
