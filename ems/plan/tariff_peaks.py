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
POINTS = 129  # of the integral over the height of the peak
GRID_S = 900.0


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
    least `MIN_DAYS`), each an independent draw. P = integral over x of phi_h(x) x product of Phi_j(x), j all other steps, x rest(x).
    """

    MIN_DAYS = 5

    def __init__(self, tariff: Tariff, rule: CoincidentPeak, time_zone: str, error_share: float = 0.03) -> None:
        self.tariff, self.rule, self.time_zone, self.error_share = tariff, rule, time_zone, error_share
        self._forecast: tuple[Array, Array] = (np.zeros(0), np.zeros(0))
        self._daily: dict[int, float] = {}  # local day -> highest load seen

    def add_forecast(self, at_s: Array, load_kw: Array) -> None:
        """The newest forecast of the system's load: starts of its intervals, seconds since 1970, and means."""
        self._forecast = (np.asarray(at_s, float), np.asarray(load_kw, float))

    def observe(self, at_s: float, load_kw: float) -> None:
        """A load that was measured, in an interval that can peak; others are left out."""
        times = LocalTimes(np.array([at_s]), self.time_zone, self.tariff)
        if eligible(self.rule, times)[0]:
            day = int(times.day_number[0])
            self._daily[day] = max(self._daily.get(day, 0.0), load_kw)

    def probability(self, now: datetime, starts: Sequence[datetime], duration_h: Sequence[float]) -> Array:
        """Chance per step; zero where nothing is forecast or no peak can lie."""
        begin = np.array([s.timestamp() for s in starts])
        end = begin + 3600.0 * np.asarray(duration_h, float)
        at_s, load = self._forecast
        times = LocalTimes(begin, self.time_zone, self.tariff)
        highest = np.array([_highest(at_s, load, a, b) for a, b in zip(begin, end, strict=True)])
        can_peak = np.isfinite(highest) & eligible(self.rule, times)
        chance = np.zeros(len(starts))
        for month in np.unique(times.month_index[can_peak]):
            inside = np.flatnonzero(can_peak & (times.month_index == month))
            chance[inside] = self._of_month(int(month), highest[inside], times.day_number[inside])
        return chance

    def _of_month(self, month: int, load_kw: Array, day: NDArray[np.int64]) -> Array:
        sigma = max(self.error_share * float(load_kw.max()), 1e-9)
        seen = [kw for d, kw in self._daily.items() if self._month_of(d) == month]
        floor = max(seen, default=0.0)
        x = np.linspace(max(floor, load_kw.max() - 5 * sigma), max(floor, load_kw.max()) + 5 * sigma, POINTS)
        z = (x[:, None] - load_kw[None, :]) / sigma
        log_below = np.log(np.maximum(ndtr(z), 1e-300))
        others = np.exp(log_below.sum(axis=1, keepdims=True) - log_below)
        density = np.exp(-0.5 * z**2) / (sigma * np.sqrt(2 * np.pi))
        chance = np.trapezoid(density * others * self._rest(month, x, int(day.max()))[:, None], x, axis=0)
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
