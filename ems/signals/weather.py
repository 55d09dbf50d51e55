"""Outdoor temperature with the instant each value became known, and what to expect. °C."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from ems.signals.series import Floats, KnownSeries, Row, day_ago, epoch_s, sample_points, step_means

FORECAST = "forecast"  # `source` of a provider's forecast; any other source is an observation
COLDEST_C, HOTTEST_C = -60.0, 60.0
DEVIATION_TAU_H = 6.0  # how long today stays warmer or colder than yesterday at the same hour
STALE_S = 12 * 3600.0


@dataclass(frozen=True, slots=True)
class WeatherRow:
    """One outdoor temperature over `[valid_from, valid_to)`, known from `available_at` on."""

    valid_from: datetime
    valid_to: datetime
    available_at: datetime
    temp_c: float
    source: str = "observed"


class WeatherBook:
    """Observed and forecast temperature. `forecast` and `at` see only rows with `available_at <= now`."""

    def __init__(self, default_c: float = 25.0) -> None:
        self.default_c = default_c  # when nothing is known
        self._observed = KnownSeries(COLDEST_C, HOTTEST_C)
        self._forecast = KnownSeries(COLDEST_C, HOTTEST_C)

    def add(self, rows: Iterable[WeatherRow]) -> None:
        """Takes rows in any order; unusable ones are counted in `data_quality`."""
        rows = list(rows)
        self._forecast.add(_row(r) for r in rows if r.source == FORECAST)
        self._observed.add(_row(r) for r in rows if r.source != FORECAST)

    def forecast(self, now: datetime, starts: Sequence[datetime], duration_h: Sequence[float]) -> Floats:
        """Expected temperature in °C, one mean per step: the provider's forecast where known, else the day before plus the present
        deviation from it, decaying; else the last value; else the declared default."""
        points, first = sample_points(starts, duration_h)
        return step_means(self._expected(points, epoch_s(now)), first)

    def at(self, now: datetime) -> float:
        """The best estimate of the present temperature in °C."""
        now_s = epoch_s(now)
        return float(self._expected(np.array([now_s]), now_s)[0])

    def _expected(self, points: Floats, now_s: float) -> Floats:
        observed = self._observed.known(now_s)
        last = observed.last_before(now_s)
        probe = np.append(points, now_s if last is None else 0.5 * (last.from_s + last.to_s))
        base = _first_known(day_ago(observed, probe, now_s, (1,)), day_ago(observed, probe, now_s, (2,)))
        base = np.where(np.isnan(base), self.default_c if last is None else last.value, base)
        expected = base[:-1] + _deviation(points, now_s, last, float(base[-1]))
        return _first_known(_first_known(observed.at(points), self._forecast.known(now_s).at(points)), expected)

    def data_quality(self) -> dict[str, int]:
        """Counts of what was wrong with the feeds."""
        feeds = {"observed": self._observed, "forecast": self._forecast}
        return {f"{name}_{what}": n for name, series in feeds.items() for what, n in series.report().items()}


def _row(row: WeatherRow) -> Row:
    return Row(epoch_s(row.valid_from), epoch_s(row.valid_to), epoch_s(row.available_at), row.temp_c)


def _first_known(values: Floats, other: Floats) -> Floats:
    return np.where(np.isnan(values), other, values)


def _deviation(points: Floats, now_s: float, last: Row | None, base_then: float) -> Floats:
    if last is None or now_s - last.to_s > STALE_S:
        return np.zeros(len(points))
    lead_h = np.maximum(0.0, points - last.to_s) / 3600.0
    decayed: Floats = (last.value - base_then) * np.exp(-lead_h / DEVIATION_TAU_H)
    return decayed
