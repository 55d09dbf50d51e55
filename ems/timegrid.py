"""The steps of a plan: 5 min for an hour, 15 min to about 8 h, then hours, always the same number of them.

The boundaries lie on absolute time (UTC), so that a step keeps its meaning from one plan to the next. Two filler steps of varying
length join the grids: the number of steps never changes, only durations do, and a compiled problem can be used again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ems.horizon import Horizon

Array = NDArray[np.float64]

FINE_S, MEDIUM_S, COARSE_S = 300, 900, 3600
FINE_STEPS, MEDIUM_STEPS = 12, 28


@dataclass(frozen=True)
class TimeGrid:
    """How many steps of each length; the first fine step is the rest of the running 5 minutes."""

    coarse_steps: int = 39

    @staticmethod
    def covering(horizon_h: float) -> TimeGrid:
        """The grid that reaches at least `horizon_h` hours ahead, whatever the phase of `now`."""
        return TimeGrid(max(1, int(np.ceil(horizon_h - 8.2))))

    @property
    def n(self) -> int:
        """Number of steps: fine, filler, medium, filler, coarse."""
        return FINE_STEPS + 1 + MEDIUM_STEPS + 1 + self.coarse_steps

    def at(self, now: datetime) -> Horizon:
        """The steps from `now` (whole seconds) on; all but the first start on a multiple of 5 minutes."""
        start = now.astimezone(UTC).replace(microsecond=0)
        seconds = _durations_s(int(start.timestamp()), self.coarse_steps)
        starts = start + np.concatenate([[0], np.cumsum(seconds)[:-1]]) * timedelta(seconds=1)
        return Horizon(tuple(starts.tolist()), tuple(s / 3600 for s in seconds))

    def boundary_after_lag(self, boundary: int, lag_h: float) -> int:
        """The earliest boundary that is, whatever the phase of `now`, not before the time of `boundary` minus `lag_h`."""
        times = _phase_times(self)
        is_late_enough = (times >= times[:, [boundary]] - lag_h - 1e-9).all(axis=0)
        return int(np.argmax(is_late_enough))

    def boundary_before_lag(self, boundary: int, lag_h: float) -> int:
        """The latest boundary that is, whatever the phase of `now`, not after the time of `boundary` minus `lag_h`; the first where that
        lies before the horizon."""
        times = _phase_times(self)
        is_early_enough = (times <= times[:, [boundary]] - lag_h + 1e-9).all(axis=0)
        return int(np.flatnonzero(is_early_enough).max(initial=0))

    def first_within(self, step: int, lag_h: float) -> int:
        """The earliest step that begins, in some phase of `now`, less than `lag_h` before `step` does: itself where the lag is none."""
        times = _phase_times(self)[:, : step + 1]
        is_within = (times > times[:, [step]] - lag_h + 1e-9).any(axis=0)
        return int(np.argmax(is_within)) if is_within.any() else step


_PHASES = tuple(datetime(2024, 1, 1, 0, m, s, tzinfo=UTC) for m in range(0, 60, 5) for s in (0, 1)) + tuple(
    datetime(2024, 1, 1, 0, m, 59, tzinfo=UTC) for m in range(4, 60, 5)
)


@cache
def _phase_times(grid: TimeGrid) -> Array:
    """Boundaries in hours for every phase of `now`: a row each. Asked for thousands of times while the blocks of a large site are built."""
    times = np.array([boundaries_h(grid.at(phase)) for phase in _PHASES])
    times.flags.writeable = False
    return times


def boundaries_h(horizon: Horizon) -> Array:
    """Hours from the start of the horizon to each boundary; N+1 values, the first 0."""
    return np.concatenate([[0.0], np.cumsum(horizon.duration_h)])


def interval_columns(interval_s: int) -> int:
    """How many leading steps can be shorter than a billing interval (or straddle its ends) and must be averaged."""
    if interval_s <= FINE_S:
        return 1
    return FINE_STEPS + 1 if interval_s <= MEDIUM_S else FINE_STEPS + 1 + MEDIUM_STEPS + 1


def interval_rows(interval_s: int) -> int:
    """The most billing intervals the averaged steps can touch."""
    longest_s = {1: FINE_S, FINE_STEPS + 1: FINE_STEPS * FINE_S + MEDIUM_S}.get(
        interval_columns(interval_s), FINE_STEPS * FINE_S + MEDIUM_S + MEDIUM_STEPS * MEDIUM_S + COARSE_S
    )
    return -(-longest_s // interval_s) + 1


def interval_start(now: datetime, interval_s: int) -> datetime:
    """The start of the billing interval (multiples since 00:00 UTC) that holds `now`."""
    seconds = int(now.timestamp())
    return datetime.fromtimestamp(seconds - seconds % interval_s, UTC)


def interval_weights(horizon: Horizon, interval_s: int) -> Array:
    """Share of each billing interval covered by each averaged step: (interval_rows, interval_columns), rows from the running interval on.

    `weights @ import_kw + metered energy / interval length` is the mean import of each interval.
    """
    columns = interval_columns(interval_s)
    first_s = interval_start(horizon.starts[0], interval_s).timestamp()
    begin = np.array([s.timestamp() for s in horizon.starts[:columns]]) - first_s
    end = begin + np.array(horizon.duration_h[:columns]) * 3600
    low = np.arange(interval_rows(interval_s))[:, None] * interval_s
    overlap_s = np.minimum(end, low + interval_s) - np.maximum(begin, low)
    return np.asarray(np.clip(np.round(overlap_s, 6), 0.0, None) / interval_s)


def _durations_s(start_s: int, coarse_steps: int) -> list[int]:
    first = FINE_S - start_s % FINE_S
    fine = [first] + [FINE_S] * (FINE_STEPS - 1)
    at = start_s + sum(fine)
    filler = MEDIUM_S - at % MEDIUM_S
    medium = [filler] + [MEDIUM_S] * MEDIUM_STEPS
    at += sum(medium)
    return fine + medium + [COARSE_S - at % COARSE_S] + [COARSE_S] * coarse_steps
