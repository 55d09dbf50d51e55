"""What an announcement is worth: jobs added to a real trace, announced or not, and announcements of jobs that never come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from ems.forecast.announced import AnnouncedLoad, WithAnnounced
from ems.forecast.catalogue import load_forecaster, usual_leads
from ems.forecast.evaluate import Issued, Series, issue_all
from ems.forecast.measures import pinball
from ems.forecast.protocol import LEVEL_ARRAY, Floats, Forecaster, history_of

JOB_SHARE = 0.3  # of the series' 99.5th percentile
EVERY_S, LASTS_S, AHEAD_S = 18 * 3600, 3600, 4 * 3600


@dataclass(frozen=True)
class AnnouncedScore:
    """Changes of the mean pinball loss over all levels, announced against not announced; negative is better."""

    series: str
    lead_s: float
    confidence: float
    true_hour: float  # in the hours of jobs that come
    false_hour: float  # in the hour of one job that does not
    false_day: float  # in the day around it
    false_span: float  # in the whole test span


def score_announced(series: Series, leads_s: tuple[float, ...] = (600.0, 3600.0), confidence: float = 1.0) -> list[AnnouncedScore]:
    """The last third of a series: jobs of an hour every 18 h, known 4 h before; then one announcement of a job that never comes."""
    cells = [int(s / series.step_s) for s in (EVERY_S, LASTS_S, AHEAD_S)]
    first = len(series.values) * 2 // 3
    starts = list(range(first + 30, len(series.values) - 40, cells[0]))
    power = JOB_SHARE * float(np.nanpercentile(series.values, 99.5))
    with_jobs = series.values.copy()
    for start in starts:
        with_jobs[start : start + cells[1]] += power

    def load(start: int) -> AnnouncedLoad:
        at: Callable[[int], datetime] = lambda cell: datetime.fromtimestamp(cell * series.step_s, UTC)  # noqa: E731
        return AnnouncedLoad(at(start - cells[2]), at(start), at(start + cells[1]), power, confidence)

    middle = starts[len(starts) // 2]
    true = _both(series, with_jobs, [load(s) for s in starts])
    false = _both(series, series.values, [load(middle)])
    hours = np.array([t for s in starts for t in range(s, s + cells[1])])
    hour = np.arange(middle, middle + cells[1])
    day = np.arange(middle - 12 * cells[1], min(len(series.values), middle + 12 * cells[1]))
    span = np.arange(first + 20, len(series.values))
    return [
        AnnouncedScore(
            series.name,
            lead,
            confidence,
            _change(with_jobs, true, round(lead / series.step_s), hours),
            *(_change(series.values, false, round(lead / series.step_s), where) for where in (hour, day, span)),
        )
        for lead in leads_s
    ]


def _both(series: Series, values: Floats, loads: list[AnnouncedLoad]) -> tuple[Issued, Issued]:
    """Without and with the announcements."""
    history, leads = history_of(values, series.step_s), usual_leads(series.step_s)
    informed = WithAnnounced(load_forecaster("ensemble", leads))
    informed.announce(loads)
    both: list[Forecaster] = [load_forecaster("ensemble", leads), informed]
    without, told = (issue_all(f, history) for f in both)
    return without, told


def _change(values: Floats, both: tuple[Issued, Issued], lead: int, cells: np.ndarray) -> float:
    at = int(np.searchsorted(both[0].leads, lead))
    cells = cells[np.isfinite(values[cells])]
    losses = [pinball(values[cells, None] - i.values[cells - lead + 1, :, at], LEVEL_ARRAY).mean() for i in both]
    return float(losses[1] / losses[0] - 1.0)
