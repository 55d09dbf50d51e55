"""A command that cannot be meant as given: one line, exit 2."""

from __future__ import annotations

from ems.errors import EmsError


class WrongUsage(EmsError):
    """Wrong arguments; the message says what would be right."""
