"""Composition: one file per process, and the command line."""
