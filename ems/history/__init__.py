"""Long-term history through SQLAlchemy."""
