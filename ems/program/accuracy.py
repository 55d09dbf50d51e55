"""How well a baseline predicts this site: the method run on ordinary days of its own history, where the truth is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from ems.errors import DataError
from ems.program.baseline import EventDay, run_baseline
from ems.program.meter import MeterSeries
from ems.program.methods import BaselineMethod

FEWEST_DAYS = 10


@dataclass(frozen=True)
class Accuracy:
    """Errors of the baseline, baseline less truth. `errors` are those of the event's mean, as fractions of the true mean, one per day."""

    days: int
    rrmse: float  # root mean squared error over intervals / mean load
    bias: float  # mean error / mean load
    errors: tuple[float, ...]
    mean_kw: float

    def quantile(self, level: float) -> float:
        """The error not exceeded with that probability, a fraction of the load."""
        ranked = sorted(self.errors)
        place = level * (len(ranked) - 1)
        low = math.floor(place)
        high = min(low + 1, len(ranked) - 1)
        return ranked[low] + (place - low) * (ranked[high] - ranked[low])

    def chance_short(self, reduction_kw: float, share: float) -> float:
        """The share of days on which a reduction delivered in full is measured as less than `share` of it."""
        allowed = (1.0 - share) * reduction_kw
        return sum(-e * self.mean_kw > allowed for e in self.errors) / len(self.errors)


def measure_accuracy(method: BaselineMethod, event: EventDay, meter: MeterSeries, days: Sequence[date]) -> Accuracy:
    """The accuracy over given local days at the event's clock hours. Days the method has too little for are left out; DataError when
    fewer than FEWEST_DAYS remain."""
    pairs: list[list[tuple[float, float]]] = []
    trouble = ""
    for day in days:
        shifted = _moved(event, day)
        try:
            run = run_baseline(method, shifted, meter)
        except DataError as error:
            trouble = f": {error}"
            continue
        actual = [_actual(method, meter, s) for s in run.starts]
        if all(a is not None for a in actual):
            pairs.append([(b, a) for b, a in zip(run.kw, actual, strict=True) if a is not None])
    if len(pairs) < FEWEST_DAYS:
        raise DataError(f"accuracy: {len(pairs)} of {len(days)} days can be judged, at least {FEWEST_DAYS} are needed{trouble}")
    return _score(pairs)


def ordinary_days(event: EventDay, meter: MeterSeries, months: Sequence[int] | None, days: Sequence[str]) -> list[date]:
    """The local days of a meter's span, in season and of the kinds given, that hold no event."""
    first, last = meter.start.astimezone(event.zone).date(), meter.end.astimezone(event.zone).date()
    span = [first + timedelta(days=n) for n in range((last - first).days)]
    taken = {t.astimezone(event.zone).date() for period in event.other_events for t in period}
    return [d for d in span if d not in taken and (months is None or d.month in months) and event.kind_of_day(d) in days]


def _moved(event: EventDay, day: date) -> EventDay:
    wall = event.start.astimezone(event.zone).replace(year=day.year, month=day.month, day=day.day)
    start = wall.astimezone(event.start.tzinfo)
    return replace(event, start=start, end=start + (event.end - event.start))


def _actual(method: BaselineMethod, meter: MeterSeries, start: datetime) -> float | None:
    kw = meter.mean_kw(start, method.interval_min)
    return None if kw is None else (min(0.0, kw) if method.output_only else kw) * method.loss_factor


def _score(pairs: Sequence[Sequence[tuple[float, float]]]) -> Accuracy:
    flat = [p for day in pairs for p in day]
    mean_kw = sum(a for _, a in flat) / len(flat)
    if abs(mean_kw) < 1e-9:
        raise DataError("accuracy: the mean load is zero, errors have nothing to be compared with")
    squared = sum((b - a) ** 2 for b, a in flat) / len(flat)
    errors = tuple(sum(b - a for b, a in day) / len(day) / abs(mean_kw) for day in pairs)
    return Accuracy(len(pairs), math.sqrt(squared) / abs(mean_kw), sum(b - a for b, a in flat) / len(flat) / abs(mean_kw), errors, mean_kw)
