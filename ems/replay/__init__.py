"""Historical traces through the same controller under a simulated clock."""
