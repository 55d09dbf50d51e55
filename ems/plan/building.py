"""While a model is built the cyclic garbage collector looks in vain: cvxpy makes some hundred thousand small objects and keeps them."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_collection() -> Iterator[None]:
    """Holds the collector back; a sixth of the time in which the campus is built and compiled."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # what was made stays: with both calls it grows old unseen, a young collection would walk through all of it once
        gc.unfreeze()
        if was_on:
            gc.enable()
