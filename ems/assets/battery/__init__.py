"""A battery energy storage system."""
