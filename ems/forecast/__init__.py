"""Quantile forecasts of load and prices, and their scores."""
