"""Physics and manners of the simulated equipment: one device per file, each can refuse, fail and lapse."""
