"""A load nobody can move."""
