CREATE INDEX subjects_by_subject ON subjects (subject);
