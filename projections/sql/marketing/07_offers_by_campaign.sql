CREATE INDEX offers_by_campaign ON offers (campaign, idx);
