"""Announced load (queued jobs, training starts, checkpoints, launches) merged into the quantiles of everything else.

The rest is forecast from the history without the announced load. A job that will run with probability `p` makes each quantile one of the
mixture `p (rest + kw) + (1 − p) rest`. Before its start `p` is the announced confidence times how often this source kept its word; once it
should run, every measured cell moves `p` by how likely the cell is with and without it, so that a false announcement is dropped in minutes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from ems.forecast.pending import Progress
from ems.forecast.protocol import LEVEL_ARRAY, LEVELS, MEDIAN, Floats, Forecast, Forecaster, History

TRUST = (3.0, 1.0)  # announcements kept and broken that count as seen before the first
MOST_EVIDENCE = 4.0  # of one cell, as a logarithm of odds
LEAST_SURE, MOST_SURE = 0.01, 0.999
PAST_JOBS = 200  # ended jobs remembered, to take their power out of the history


@dataclass(frozen=True)
class AnnouncedLoad:
    """`power` (in the series' unit) on top of the rest over `[start, end)`, known from `announced_at` on; `source` is who said so."""

    announced_at: datetime
    start: datetime
    end: datetime
    power: float
    confidence: float = 1.0
    source: str = "announced"

    def __post_init__(self) -> None:
        if not (self.end > self.start and math.isfinite(self.power) and 0.0 <= self.confidence <= 1.0):
            raise ValueError(f"announced load {self}: expected an end after the start, a finite power and a confidence of 0 to 1")


class WithAnnounced:
    """A Forecaster around the forecaster of the rest. `announce` may be called at any time; nothing is used before `announced_at`."""

    def __init__(self, rest: Forecaster) -> None:
        self.rest, self.leads, self.name = rest, rest.leads, f"{rest.name} + announced"
        self._jobs: list[_Job] = []
        self._kept: dict[str, tuple[float, float]] = {}
        self._progress = Progress(int(rest.leads[-1]))
        self._last: Forecast | None = None

    def announce(self, loads: Iterable[AnnouncedLoad]) -> None:
        """Takes announcements; the same source and start again replaces the earlier one (a changed job, or a withdrawn one of power 0)."""
        for load in loads:
            self._jobs = [j for j in self._jobs if (j.load.source, j.load.start) != (load.source, load.start)]
            self._jobs.append(_Job(load))
        self._jobs = sorted(self._jobs, key=lambda j: (j.load.start, j.load.source))[-PAST_JOBS:]

    def probability(self, load: AnnouncedLoad) -> float:
        """How sure it is now that this job runs or will run."""
        job = next(j for j in self._jobs if j.load == load)
        return self._sure(job)

    def update(self, history: History) -> Forecast:
        """Judges running jobs by the new cells, forecasts the rest, merges what is announced."""
        known = [j for j in self._jobs if j.load.announced_at <= history.known_at]
        for cell in self._progress.new_cells(history):
            self._judge(known, history, cell)
        rest = self._last = self.rest.update(self._without(known, history))
        values = rest.values
        for job in known:
            values = merged(values, self._power(job, rest), self._sure(job))
        return replace(rest, source=self.name if any(j.load.end > history.known_at for j in known) else rest.source, values=values)

    def _sure(self, job: _Job) -> float:
        if job.log_odds is not None:
            return 1.0 / (1.0 + math.exp(-job.log_odds))
        kept, broken = self._kept.get(job.load.source, TRUST)
        return float(np.clip(job.load.confidence * kept / (kept + broken), LEAST_SURE, MOST_SURE))

    def _judge(self, known: list[_Job], history: History, cell: int) -> None:
        """Evidence of one measured cell for every job that should fill at least half of it."""
        actual = history.target(cell)
        running = [j for j in known if share_of(j.load, cell, history.step_s) >= 0.5]
        for job in known:
            if not job.is_counted and job.load.end.timestamp() <= cell * history.step_s and job.log_odds is not None:
                self._count(job)
        if self._last is None or not math.isfinite(actual):
            return
        middle, low, high = (float(self._last.values[i, 0]) for i in (MEDIAN, LEVELS.index(0.1), LEVELS.index(0.9)))
        spread = max((high - low) / 2.56, 1e-9)
        others = sum(j.load.power * share_of(j.load, cell, history.step_s) * self._sure(j) for j in running)
        for job in running:
            kw = job.load.power * share_of(job.load, cell, history.step_s)
            rest = actual - (others - kw * self._sure(job))
            evidence = (abs(rest - middle) - abs(rest - kw - middle)) / spread
            odds = job.log_odds if job.log_odds is not None else math.log(self._sure(job) / (1.0 - self._sure(job)))
            job.log_odds = float(np.clip(odds + np.clip(evidence, -MOST_EVIDENCE, MOST_EVIDENCE), -6.0, 6.0))

    def _count(self, job: _Job) -> None:
        kept, broken = self._kept.get(job.load.source, TRUST)
        came = self._sure(job) >= 0.5
        self._kept[job.load.source] = (kept + came, broken + (not came))
        job.is_counted = True

    def _without(self, known: list[_Job], history: History) -> History:
        """The history less the announced load that came true."""
        values = history.values.copy()
        for job in known:
            first = max(history.first, math.floor(job.load.start.timestamp() / history.step_s))
            last = min(history.end, math.ceil(job.load.end.timestamp() / history.step_s))
            if last > first and self._sure(job) >= 0.5:
                shares = np.array([share_of(job.load, cell, history.step_s) for cell in range(first, last)])
                values[first - history.first : last - history.first] -= job.load.power * shares
        return replace(history, values=values)

    def _power(self, job: _Job, rest: Forecast) -> Floats:
        """Mean power of a job per lead."""
        first = round(rest.made_at.timestamp() / rest.step_s)
        return np.array([job.load.power * share_of(job.load, first + int(lead) - 1, rest.step_s) for lead in rest.leads])


@dataclass
class _Job:
    """An announcement and what is known of its truth: `log_odds` from its first measured cell on."""

    load: AnnouncedLoad
    log_odds: float | None = None
    is_counted: bool = False


def share_of(load: AnnouncedLoad, cell: int, step_s: float) -> float:
    """Share of a cell that the announced load fills."""
    overlap = min(load.end.timestamp(), (cell + 1) * step_s) - max(load.start.timestamp(), cell * step_s)
    return max(0.0, overlap) / step_s


def merged(values: Floats, power: Floats, sure: float) -> Floats:
    """Quantiles `[level, lead]` of: with probability `sure` the value and the power, else the value alone."""
    result = values.copy()
    for j in np.flatnonzero(power):
        both = np.concatenate([values[:, j], values[:, j] + power[j]])
        weights = np.concatenate([np.full(len(LEVELS), 1.0 - sure), np.full(len(LEVELS), sure)]) * np.tile(MASS, 2)
        order = np.argsort(both, kind="stable")
        reached = np.cumsum(weights[order]) - 0.5 * weights[order]
        result[:, j] = np.interp(LEVEL_ARRAY, reached, both[order])
    return result


_EDGES = np.concatenate([[0.0], 0.5 * (LEVEL_ARRAY[1:] + LEVEL_ARRAY[:-1]), [1.0]])
MASS = np.diff(_EDGES)  # probability that each stored quantile stands for
