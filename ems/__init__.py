"""Grid-interactive energy management controller for AI data centers. Start with ems/README.md."""
