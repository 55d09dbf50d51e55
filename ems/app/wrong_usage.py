"""A command that cannot be meant as given: one line, exit 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from ems.errors import EmsError


class WrongUsage(EmsError):
    """Wrong arguments; the message says what would be right."""


def perhaps(word: str, known: Iterable[str]) -> str:
    """`, perhaps ...` when a known word is close, else nothing. Needs no more than the standard library, unlike `ems.site.checks`."""
    near = difflib.get_close_matches(word, sorted(set(known)), n=1, cutoff=0.6)
    return f", perhaps `{near[0]}`" if near else ""
