"""What a store may give in a day, whatever kind it is."""
