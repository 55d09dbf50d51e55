"""When will the system peak? Predictors for coincident-peak prices: a probability per step that a billed peak interval lies in it.

Any object with `probability` will do. Without a system load the calendar alone speaks; with one, what is forecast and how wrong it may be.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from ems.site.tariff import CoincidentPeak, Tariff
from ems.site.tariff_calendar import LocalTimes, month_start

Array = NDArray[np.float64]
POINTS = 257  # of the integral over the height of the peak
GRID_S = 900.0
LEAST_ERROR = 0.1  # of the stationary one: even the next interval is not known exactly


class PeakPredictor(Protocol):
    """Says how likely each step holds a billed peak interval of the system."""

    def probability(self, now: datetime, starts: Sequence[datetime], duration_h: Sequence[float]) -> Array:
        """Expected number of billed peak intervals in each step, as known at `now`."""
        ...


class CalendarPredictor:
    """Every quarter of an hour in which the rule's peak may lie is as likely as any other; weekends are not told apart."""

    def __init__(self, tariff: Tariff, rule: CoincidentPeak, time_zone: str) -> None:
        self.tariff, self.rule, self.time_zone = tariff, rule, time_zone

    def probability(self, now: datetime, starts: Sequence[datetime], duration_h: Sequence[float]) -> Array:
        """The step's share of the hours that can peak in its month (or season)."""
        hours = np.array([self._hours(s.timestamp(), h) for s, h in zip(starts, duration_h, strict=True)])
        times = LocalTimes(np.array([s.timestamp() for s in starts]), self.time_zone, self.tariff)
        return hours * np.array([self._per_hour(int(month)) for month in times.month_index])

    def _hours(self, start_s: float, hours: float) -> float:
        points = np.asarray(start_s + GRID_S * (np.arange(max(1, round(hours * 4))) + 0.5), float)
        return hours * float(eligible(self.rule, LocalTimes(points, self.time_zone, self.tariff)).mean())

    def _per_hour(self, month: int) -> float:
        """Billed peaks per hour that can hold one."""
        months = [month] if self.rule.per_month else [month // 12 * 12 + m - 1 for m in self.rule.months]
        days = sum((month_start(m + 1, self.time_zone) - month_start(m, self.time_zone)).total_seconds() / 86400.0 for m in months)
        return (self.rule.per_month or self.rule.per_year) / (days * (self.rule.to_h - self.rule.from_h))


class SystemLoadPredictor:
    """From a forecast of the system's load: the chance that a step's load, forecast with a normal error, is the highest of its month.

    It must exceed what the month has seen and what the days beyond the horizon may bring; those are like the daily peaks seen so far (at
    least `MIN_DAYS`, months outside the season count), each an independent draw. The last error is expected to fade by `error_memory` an
    hour. P = integral over x of phi_h(x) x product of Phi_j(x), j all other steps, x rest(x). Asked every hour on a summer of ERCOT's
    day-ahead load forecast with generated errors (AR(1), 0.9, 3 %): tests/plan/test_tariff_peaks.py says how many intervals are hit.
    """

    MIN_DAYS = 5

    def __init__(self, tariff: Tariff, rule: CoincidentPeak, time_zone: str, error_share: float = 0.03, error_memory: float = 0.9) -> None:
        self.tariff, self.rule, self.time_zone = tariff, rule, time_zone
        self.error_share, self.error_memory = max(error_share, 1e-3), error_memory
        self._error: tuple[float, float] | None = None  # when the load was last seen, and by how much it exceeded its forecast
        self._forecast: tuple[Array, Array] = (np.zeros(0), np.zeros(0))
        self._daily: dict[int, float] = {}  # local day -> highest load seen

    def add_forecast(self, at_s: Array, load_kw: Array) -> None:
        """The newest forecast of the system's load: starts of its intervals, seconds since 1970, and means."""
        self._forecast = (np.asarray(at_s, float), np.asarray(load_kw, float))

    def observe(self, at_s: float, load_kw: float) -> None:
        """A load that was measured over the interval from `at_s` on."""
        forecast_kw = _highest(*self._forecast, at_s, at_s + 1.0)
        if np.isfinite(forecast_kw):
            self._error = (at_s, load_kw - forecast_kw)
        times = LocalTimes(np.array([at_s]), self.time_zone, self.tariff)
        if self.rule.from_h <= times.hour()[0] < self.rule.to_h:
            day = int(times.day_number[0])
            self._daily[day] = max(self._daily.get(day, 0.0), load_kw)

    def probability(self, now: datetime, starts: Sequence[datetime], duration_h: Sequence[float]) -> Array:
        """Chance of the metered intervals in each step, by the share that lies in it; zero where nothing is forecast or can peak."""
        begin = np.array([s.timestamp() for s in starts])
        end = begin + 3600.0 * np.asarray(duration_h, float)
        length_s = 60.0 * self.rule.interval_min
        at_s = np.arange(begin[0] // length_s * length_s, end[-1], length_s)
        edges, so_far = np.r_[at_s, at_s[-1] + length_s], np.r_[0.0, np.cumsum(self._of_intervals(now, at_s, length_s))]
        return np.asarray(np.interp(end, edges, so_far) - np.interp(begin, edges, so_far), float)

    def _of_intervals(self, now: datetime, begin: Array, length_s: float) -> Array:
        """Chance of each interval of the system's meter."""
        times = LocalTimes(begin, self.time_zone, self.tariff)
        highest = np.array([_highest(*self._forecast, at, at + length_s) for at in begin.tolist()])
        can_peak = np.isfinite(highest) & eligible(self.rule, times)
        chance = np.zeros(len(begin))
        for month in np.unique(times.month_index[can_peak]):
            inside = np.flatnonzero(can_peak & (times.month_index == month))
            sigma = self.error_share * max(float(highest[inside].max()), 1e-9)
            fades = self._fades(begin[inside], now)
            expected = highest[inside] + fades * (0.0 if self._error is None else self._error[1])
            spread = np.maximum(sigma * np.sqrt(1.0 - fades**2), LEAST_ERROR * sigma)
            chance[inside] = self._of_month(int(month), expected, spread, int(times.day_number[inside].max()))
        return chance

    def _fades(self, begin_s: Array, now: datetime) -> Array:
        """What is left of the last error at each instant; nothing when it is older than a day."""
        if self._error is None or now.timestamp() - self._error[0] > 86400.0:
            return np.zeros(len(begin_s))
        lead_h = np.maximum(begin_s - self._error[0], 0.0) / 3600.0
        return np.asarray(self.error_memory**lead_h, float)

    def _of_month(self, month: int, load_kw: Array, sigma: Array, last_day: int) -> Array:
        seen = [kw for d, kw in self._daily.items() if self._month_of(d) == month]
        floor = max(seen, default=0.0)
        x = np.linspace(max(floor, (load_kw - 5 * sigma).max()), max(floor, (load_kw + 5 * sigma).max()) + 1e-9, POINTS)
        z = (x[:, None] - load_kw[None, :]) / sigma[None, :]
        log_below = np.log(np.maximum(ndtr(z), 1e-300))
        others = np.exp(log_below.sum(axis=1, keepdims=True) - log_below)
        density = np.exp(-0.5 * z**2) / (sigma[None, :] * np.sqrt(2 * np.pi))
        chance = np.trapezoid(density * others * self._rest(month, x, last_day)[:, None], x, axis=0)
        return np.asarray(np.clip(chance, 0.0, 1.0), float) * (self.rule.per_month or self.rule.per_year)

    def _rest(self, month: int, x: Array, last_day: int) -> Array:
        """Chance that no day of the month after `last_day` exceeds x."""
        days_left = max(0, self._last_day(month) - last_day)
        peaks = np.array([kw for d, kw in self._daily.items() if d > last_day - 60])
        if len(peaks) < self.MIN_DAYS or not days_left:
            return np.ones(len(x))
        spread = max(float(peaks.std()), self.error_share * float(peaks.mean()))
        return np.asarray(ndtr((x - peaks.mean()) / spread) ** days_left, float)

    def _month_of(self, day: int) -> int:
        return int(np.datetime64(day, "D").astype("datetime64[M]").astype(np.int64))

    def _last_day(self, month: int) -> int:
        return int(np.datetime64(month + 1, "M").astype("datetime64[D]").astype(np.int64)) - 1


def eligible(rule: CoincidentPeak, times: LocalTimes) -> NDArray[np.bool_]:
    """True where the rule's peak can lie."""
    hour = times.hour()
    return np.asarray(np.isin(times.month + 1, rule.months) & (hour >= rule.from_h) & (hour < rule.to_h))


def _highest(at_s: Array, load_kw: Array, begin_s: float, end_s: float) -> float:
    """The highest forecast of the intervals that start within the step, else the one it lies in; NaN where there is none."""
    inside = load_kw[(at_s >= begin_s) & (at_s < end_s)]
    if len(inside):
        return float(inside.max())
    before = np.searchsorted(at_s, begin_s, side="right") - 1
    return float(load_kw[before]) if before >= 0 and begin_s - at_s[before] < 3600.0 else float("nan")
