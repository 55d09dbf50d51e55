"""Load that somebody announced: known from its announcement on, on top of what the forecaster learnt from the rest."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from ems.forecast.quantiles import Quantiles
from ems.plan.sources import LoadSource
from ems.replay.scenario import JobEntry


class WithAnnounced:
    """A LoadSource that learns from the load without the announced jobs and adds to its forecasts those announced by then."""

    def __init__(self, rest: LoadSource, rating_kw: float, jobs: Sequence[JobEntry]) -> None:
        self.rest, self.rating_kw, self.jobs = rest, rating_kw, jobs

    def observe(self, start: datetime, duration_s: float, mean_kw: float | None) -> None:
        """Takes a measured mean; the jobs that run in it are taken out."""
        running_kw = float(self._kw(start, [start], [duration_s / 3600.0])[0])
        self.rest.observe(start, duration_s, None if mean_kw is None else max(0.0, mean_kw - running_kw))

    def forecast(self, now: datetime, starts: Sequence[datetime], duration_h: Sequence[float]) -> Quantiles:
        """The forecast of the rest, and the jobs announced by `now`."""
        rest, jobs_kw = self.rest.forecast(now, starts, duration_h), self._kw(now, starts, duration_h)
        values = {level: np.minimum(self.rating_kw, kw + jobs_kw) for level, kw in rest.values.items()}
        return Quantiles(rest.starts, rest.duration_h, values)

    def max_quantile(self, now: datetime, hours: float, level: float = 0.99) -> float:
        """As of the rest, and the largest sum of jobs in that time, within the rating."""
        steps = max(1, round(hours * 12))
        starts = [datetime.fromtimestamp(now.timestamp() + 300.0 * i, now.tzinfo) for i in range(steps)]
        jobs_kw = float(self._kw(now, starts, [1 / 12] * steps).max())
        return min(self.rating_kw, self.rest.max_quantile(now, hours, level) + jobs_kw)

    def _kw(self, now: datetime, starts: Sequence[datetime], duration_h: Sequence[float]) -> np.ndarray:
        """Mean power per step of the jobs known at `now`."""
        begin = np.array([s.timestamp() for s in starts])
        seconds = np.asarray(duration_h, float) * 3600.0
        total = np.zeros(len(begin))
        for job in self.jobs:
            if job.announced_at <= now:
                overlap = np.minimum(begin + seconds, job.end.timestamp()) - np.maximum(begin, job.start.timestamp())
                total += job.kw * np.clip(overlap, 0.0, None) / seconds
        return total
