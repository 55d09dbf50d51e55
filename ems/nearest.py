"""The known name that a wrong one was probably meant to be, for messages. Needs no more than the standard library."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known name closest to a word; None when none is close."""
    return next(iter(difflib.get_close_matches(word, sorted(set(known)), n=1, cutoff=0.6)), None)


def perhaps(word: str, known: Iterable[str]) -> str:
    """`, perhaps ...` when a known word is close, else nothing."""
    near = nearest(word, known)
    return f", perhaps `{near}`" if near else ""


def near_miss(name: str, known: Iterable[str]) -> str:
    """`, perhaps ...` when a known name is close, else the names there are."""
    names = sorted(set(known))
    return perhaps(name, names) or (f" ({', '.join(names)})" if names else "")
