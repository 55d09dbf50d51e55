"""Alarms raised, cleared and delivered: log, page, hooks."""
