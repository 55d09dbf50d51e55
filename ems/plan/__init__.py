"""Advice for the next 48 hours: blocks, one compiled problem, one persistent solver, verification."""
