"""Revenue-meter data on a regular grid, with a quality per interval. Missing is not zero: it is None."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from ems.errors import DataError

INTERVALS_MIN = (1, 5, 15, 30, 60)
FULL_SHARE = 0.9  # of an interval's rows that must be there


class MeterQuality(StrEnum):
    """How an interval was come by; order of trust from best to worst."""

    OK = "ok"
    ESTIMATED = "estimated"
    MISSING = "missing"
    BAD = "bad"


WORST_FIRST = (MeterQuality.BAD, MeterQuality.MISSING, MeterQuality.ESTIMATED, MeterQuality.OK)


@dataclass(frozen=True)
class MeterSeries:
    """Interval means in kW (import positive) from `start` on, one after the other. `quality` has one entry per value."""

    start: datetime
    interval_min: int
    kw: tuple[float | None, ...]
    quality: tuple[MeterQuality, ...]

    def __post_init__(self) -> None:
        if len(self.kw) != len(self.quality):
            raise DataError(f"meter: {len(self.kw)} values and {len(self.quality)} qualities")
        if self.interval_min < 1 or 60 % self.interval_min:
            raise DataError(f"meter: interval_min = {self.interval_min}: expected a part of an hour")

    @staticmethod
    def of(start: datetime, interval_min: int, kw: Sequence[float | None]) -> MeterSeries:
        """A series in which every value is good and every hole is missing."""
        quality = tuple(MeterQuality.OK if v is not None else MeterQuality.MISSING for v in kw)
        return MeterSeries(start.astimezone(UTC), interval_min, tuple(kw), quality)

    @property
    def end(self) -> datetime:
        """The end of the last interval."""
        return self.start + timedelta(minutes=self.interval_min * len(self.kw))

    def mean_kw(self, start: datetime, minutes: float) -> float | None:
        """The mean over `[start, start + minutes)`; None where any part of it is missing or bad. DataError when the grid does not fit."""
        first, count = self._span(start, minutes)
        if first < 0 or first + count > len(self.kw):
            return None
        values = [self.kw[i] for i in range(first, first + count) if self.quality[i] is not MeterQuality.BAD]
        known = [v for v in values if v is not None]
        return sum(known) / count if len(known) == count else None

    def worst(self, start: datetime, minutes: float) -> MeterQuality:
        """The worst quality over `[start, start + minutes)`."""
        first, count = self._span(start, minutes)
        if first < 0 or first + count > len(self.kw):
            return MeterQuality.MISSING
        seen = set(self.quality[first : first + count])
        return next(q for q in WORST_FIRST if q in seen)

    def between(self, start: datetime, end: datetime) -> MeterSeries:
        """The part of the series inside `[start, end)`."""
        step = timedelta(minutes=self.interval_min)
        first = max(0, -((self.start - start) // step))
        last = max(first, min(len(self.kw), (end - self.start) // step))
        return MeterSeries(self.start + first * step, self.interval_min, self.kw[first:last], self.quality[first:last])

    def encode(self) -> dict[str, Any]:
        """Plain data."""
        quality = [q.value for q in self.quality]
        return {"start": self.start.isoformat(), "interval_min": self.interval_min, "kw": list(self.kw), "quality": quality}

    @staticmethod
    def decode(data: Mapping[str, Any]) -> MeterSeries:
        """The series back; raises KeyError, ValueError or DataError on anything else."""
        quality = tuple(MeterQuality(q) for q in data["quality"])
        return MeterSeries(datetime.fromisoformat(data["start"]), int(data["interval_min"]), tuple(data["kw"]), quality)

    def _span(self, start: datetime, minutes: float) -> tuple[int, int]:
        step = self.interval_min
        offset_min = (start - self.start).total_seconds() / 60.0
        if minutes % step or offset_min % step:
            raise DataError(f"meter: intervals of {step} min do not fit {minutes:g} min from {start.isoformat()}")
        return round(offset_min / step), round(minutes / step)


def on_grid(seconds: Sequence[float], kw: Sequence[float | None], step_s: float, interval_min: int | None = None) -> MeterSeries:
    """Ascending rows as means on a grid of 1 to 60 minutes; an interval with too few rows is missing."""
    if interval_min is None:
        interval_min = min((m for m in INTERVALS_MIN if m * 60 >= step_s), default=60)
    length_s = interval_min * 60
    first = int(seconds[0] // length_s)
    sums: dict[int, list[float]] = {}
    for at, value in zip(seconds, kw, strict=True):
        if value is not None:
            sums.setdefault(int(at // length_s) - first, []).append(value)
    needed = max(1.0, FULL_SHARE * length_s / step_s)
    count = int(seconds[-1] // length_s) - first + 1
    means = [sum(v) / len(v) if len(v := sums.get(i, [])) >= needed else None for i in range(count)]
    return MeterSeries.of(datetime.fromtimestamp(first * length_s, UTC), interval_min, means)
