"""Prices, carbon, weather, events: meaning, not transport; what was known when."""
