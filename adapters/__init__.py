"""How the outside speaks: field devices, feeds, files."""
