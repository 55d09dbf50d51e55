"""The interval of power each asset and the site may use now, and the rule that bounds it."""
