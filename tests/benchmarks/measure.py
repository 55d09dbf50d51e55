"""What the benchmarks share: a figure goes into the table and onto the screen, spreads in words, a heap that the collector leaves alone."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from tests.benchmarks.table import LOOPS, Figure, write_figures

INTRO = (
    "Absolute figures are never asserted, ratios are. p50/p99 are of single cycles, rounds or posts, in wall time unless it says\n"
    "processor; of several runs the quietest, with the worst p99 beside it. Other work on the cores is in all of them: whole time slices\n"
    "(about 4 ms) in the wall time, slower cores and lost caches in the processor time too.\n"
    "`bench -k x` stands for `OMP_NUM_THREADS=1 python -m pytest tests/benchmarks -m bench -k x`."
)


def note(*figures: Figure) -> None:
    """Puts the figures into the table and on the screen."""
    write_figures(LOOPS, INTRO, figures)
    for figure in figures:
        print(f"{figure.name}: {figure.measured} (aim {figure.aim})")


def spread(values_ms: Sequence[float], unit: str = "ms") -> str:
    p50, p99 = np.percentile(values_ms, [50, 99])
    return f"p50 {p50:.2f}, p99 {p99:.2f} {unit}"


@contextmanager
def quiet_heap() -> Iterator[None]:
    """What the test session loaded is not searched by the collector: the control process freezes its heap in the same way."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
