"""Scheduled jobs, feeds, API and dashboard."""
