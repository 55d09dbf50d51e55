"""Picks a point inside the guard's interval and says why."""
