"""Processor time of this process, and how much of it HiGHS took: the same clock for every form, whatever else the machine does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import highspy
import numpy as np

T = TypeVar("T")


@dataclass
class Times:
    """Milliseconds of each call, and of HiGHS in it."""

    total_ms: list[float] = field(default_factory=list)
    solver_ms: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Of the whole call."""
        return float(np.median(self.total_ms))

    @property
    def overhead(self) -> float:
        """Median of what is not HiGHS."""
        return float(np.median(np.array(self.total_ms) - np.array(self.solver_ms)))

    def percentile(self, share: float) -> float:
        """Of the whole call."""
        return float(np.percentile(self.total_ms, share))


class SolverClock:
    """Adds up what `Highs.run` takes, whoever calls it."""

    def __init__(self) -> None:
        self.spent_ms = 0.0

    @contextmanager
    def watching(self) -> Iterator[SolverClock]:
        """While open, every run of HiGHS is counted."""
        run = highspy.Highs.run

        def counted(h: highspy.Highs) -> Any:
            begun = time.process_time()
            status = run(h)
            self.spent_ms += 1000 * (time.process_time() - begun)
            return status

        highspy.Highs.run = counted
        try:
            yield self
        finally:
            highspy.Highs.run = run

    def timed(self, times: Times, work: Callable[[], T]) -> T:
        """What the work returns; its times are noted."""
        solver, begun = self.spent_ms, time.process_time()
        result = work()
        times.total_ms.append(1000 * (time.process_time() - begun))
        times.solver_ms.append(self.spent_ms - solver)
        return result
