CREATE INDEX contact_steps_by_subject ON contact_steps (subject, what, about, kind, more, idx, recorded_at);
