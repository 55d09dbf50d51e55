"""Announced load in what the plan asks for: a load source that learns the rest without the jobs and merges the jobs into its quantiles.

The plan's counterpart of `announced.py`, minute by minute: a job that will run with probability `p` makes each quantile one of the mixture
`p (rest + kw) + (1 - p) rest`. Before its start `p` is the announced confidence times how often its source kept its word; once it should
run, every measured minute moves `p` by how likely the minute is with and without it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ems.forecast.announced import LEAST_SURE, MOST_SURE, PAST_JOBS, TRUST, AnnouncedLoad
from ems.forecast.quantiles import Quantiles

Floats = NDArray[np.float64]
EVIDENCE_PER_H = 12.0  # neighbouring minutes say the same: an hour counts as much as twelve cells of five minutes
MOST_EVIDENCE_PER_H = 48.0
MOST_ODDS = 6.0  # logarithm
MOST_JOBS = 1000  # that have not ended


class Source(Protocol):
    """As `ems.plan.sources.LoadSource`."""

    def observe(self, start: datetime, duration_s: float, mean_kw: float | None) -> None:
        """Takes a measured mean."""

    def forecast(self, now: datetime, starts: Sequence[datetime], duration_h: Sequence[float]) -> Quantiles:
        """Quantiles of the mean per step."""
        ...

    def max_quantile(self, now: datetime, hours: float, level: float = 0.99) -> float:
        """What the highest 5-minute mean of the next hours does not exceed with probability `level`."""
        ...


@dataclass
class _Job:
    """An announcement, and what is known of its truth: `log_odds` from its first measured minute on."""

    load: AnnouncedLoad
    log_odds: float | None = None
    is_counted: bool = False


class SourceWithJobs:
    """A load source around the source of the rest. `announce` may be called at any time; nothing counts before `announced_at`."""

    def __init__(self, rest: Source, rating_kw: float) -> None:
        self.rest, self.rating_kw = rest, rating_kw
        self._jobs: list[_Job] = []
        self._until: datetime | None = None  # the end of what was measured
        self._kept: dict[str, tuple[float, float]] = {}

    def announce(self, loads: Iterable[AnnouncedLoad]) -> None:
        """Takes announcements; the same source and start again replaces the earlier one (power 0 withdraws it)."""
        for load in loads:
            old = next((j for j in self._jobs if (j.load.source, j.load.start) == (load.source, load.start)), None)
            self._jobs = [*(j for j in self._jobs if j is not old), _again(old, load)]
        ordered = sorted(self._jobs, key=lambda j: (j.load.start, j.load.source))
        ended = [j for j in ordered if self._until is not None and j.load.end <= self._until]
        to_come = [j for j in ordered if self._until is None or j.load.end > self._until]
        self._jobs = [*ended[-PAST_JOBS:], *to_come[:MOST_JOBS]]  # the soonest are kept

    def observe(self, start: datetime, duration_s: float, mean_kw: float | None) -> None:
        """Takes a measured mean: it tells of the jobs that should run in it, and what they take is no part of the rest."""
        self._until = end = start + timedelta(seconds=duration_s)
        for job in self._jobs:
            if not job.is_counted and job.load.end <= start and job.log_odds is not None:
                self._count(job)
        running = [j for j in self._jobs if j.load.announced_at <= start and j.load.start < end and j.load.end > start]
        running = [j for j in running if j.load.power != 0.0]  # one that was withdrawn keeps no promise and breaks none
        if running and mean_kw is not None and math.isfinite(mean_kw):
            self._judge(running, start, duration_s, mean_kw)
        taken_kw = sum(_mean_kw(j.load, start, duration_s) for j in running if self._sure(j) >= 0.5)
        self.rest.observe(start, duration_s, None if mean_kw is None else max(0.0, mean_kw - taken_kw))

    def forecast(self, now: datetime, starts: Sequence[datetime], duration_h: Sequence[float]) -> Quantiles:
        """The quantiles of the rest with every job announced by `now` merged in, within the rating."""
        rest = self.rest.forecast(now, starts, duration_h)
        values = rest.values
        for job in self._known(now):
            kw = np.array([_mean_kw(job.load, s, 3600.0 * h) for s, h in zip(starts, duration_h, strict=True)])
            if kw.any():
                values = mixed(values, kw, self._sure(job))
        return Quantiles(rest.starts, rest.duration_h, {level: np.minimum(self.rating_kw, v) for level, v in values.items()})

    def max_quantile(self, now: datetime, hours: float, level: float = 0.99) -> float:
        """As of the rest, and the largest sum of jobs in that time that may run with more than the rest of the probability."""
        end = now + timedelta(hours=hours)
        likely = [j.load for j in self._known(now) if j.load.start < end and self._sure(j) > 1.0 - level]
        begun = [max(now, load.start) for load in likely]
        together = max((sum(x.power for x in likely if x.start <= at < x.end) for at in begun), default=0.0)
        return min(self.rating_kw, self.rest.max_quantile(now, hours, level) + max(0.0, together))

    def _known(self, now: datetime) -> list[_Job]:
        return [j for j in self._jobs if j.load.announced_at <= now < j.load.end]

    def _sure(self, job: _Job) -> float:
        if job.log_odds is not None:
            return 1.0 / (1.0 + math.exp(-job.log_odds))
        kept, broken = self._kept.get(job.load.source, TRUST)
        return float(np.clip(job.load.confidence * kept / (kept + broken), LEAST_SURE, MOST_SURE))

    def _judge(self, running: list[_Job], start: datetime, duration_s: float, mean_kw: float) -> None:
        """Evidence of one measured mean for every job that should run in it."""
        hours = duration_s / 3600.0
        rest = self.rest.forecast(start, [start], [hours])
        middle, low, high = (float(rest.q(level)[0]) for level in (0.5, 0.1, 0.9))
        spread = max((high - low) / 2.56, 1e-9)
        others = sum(_mean_kw(j.load, start, duration_s) * self._sure(j) for j in running)
        for job in running:
            kw, sure = _mean_kw(job.load, start, duration_s), self._sure(job)
            without = mean_kw - (others - kw * sure)
            evidence = EVIDENCE_PER_H * (abs(without - middle) - abs(without - kw - middle)) / spread
            odds = job.log_odds if job.log_odds is not None else math.log(sure / (1.0 - sure))
            moved = odds + hours * float(np.clip(evidence, -MOST_EVIDENCE_PER_H, MOST_EVIDENCE_PER_H))
            job.log_odds = float(np.clip(moved, -MOST_ODDS, MOST_ODDS))

    def _count(self, job: _Job) -> None:
        kept, broken = self._kept.get(job.load.source, TRUST)
        came = self._sure(job) >= 0.5
        self._kept[job.load.source] = (kept + came, broken + (not came))
        job.is_counted = True


def _again(old: _Job | None, load: AnnouncedLoad) -> _Job:
    """A job that is told again unchanged stays what was learnt of it."""
    if old is None or (old.load.power, old.load.end) != (load.power, load.end):
        return _Job(load)
    return replace(old, load=replace(load, announced_at=min(load.announced_at, old.load.announced_at)))


def mixed(values: Mapping[float, Floats], kw: Floats, sure: float) -> dict[float, Floats]:
    """Quantiles per level of: with probability `sure` the value and the power, else the value alone. The value's distribution is linear
    between its quantiles and goes on beyond the outer ones as inside them."""
    levels = sorted(values)
    table = np.stack([values[level] for level in levels])
    result = table.copy()
    for j in np.flatnonzero(kw):
        at, share = _distribution(levels, table[:, j])
        points = np.sort(np.concatenate([at, at + kw[j]]))
        reached = sure * np.interp(points - kw[j], at, share) + (1.0 - sure) * np.interp(points, at, share)
        result[:, j] = np.interp(levels, reached, points)
    return dict(zip(levels, result, strict=True))


def _distribution(levels: Sequence[float], row: Floats) -> tuple[Floats, Floats]:
    """Values in strictly rising order and the probability reached at each, from 0 to 1."""
    slopes = np.diff(row) / np.diff(levels)
    at = np.concatenate([[row[0] - slopes[0] * levels[0]], row, [row[-1] + slopes[-1] * (1.0 - levels[-1])]])
    return at + 1e-6 * np.arange(len(at)), np.concatenate([[0.0], levels, [1.0]])


def decode_announced(body: Mapping[str, Any]) -> dict[str, list[AnnouncedLoad]]:
    """Announcements per cluster from a message: `loads`, a list of {cluster, announced_at, start, end, kw, confidence, source}. Raises
    KeyError, TypeError or ValueError on anything else."""
    found: dict[str, list[AnnouncedLoad]] = {}
    for row in body["loads"]:
        at, start, end = (datetime.fromisoformat(row[k]) for k in ("announced_at", "start", "end"))
        load = AnnouncedLoad(at, start, end, float(row["kw"]), float(row.get("confidence", 1.0)), str(row.get("source", "announced")))
        found.setdefault(str(row["cluster"]), []).append(load)
    return found


def _mean_kw(load: AnnouncedLoad, start: datetime, duration_s: float) -> float:
    """Mean power of a job over `[start, start + duration_s)`."""
    overlap_s = (min(load.end, start + timedelta(seconds=duration_s)) - max(load.start, start)).total_seconds()
    return load.power * max(0.0, overlap_s) / duration_s
