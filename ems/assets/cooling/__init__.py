"""Cooling whose power follows IT heat with a lag."""
