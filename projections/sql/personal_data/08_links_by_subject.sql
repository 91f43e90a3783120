CREATE INDEX links_by_subject ON links (subject, idx);
