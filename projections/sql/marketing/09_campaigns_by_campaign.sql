CREATE INDEX campaigns_by_campaign ON campaigns (campaign);
