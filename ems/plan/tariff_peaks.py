"""When will the system peak? Predictors for coincident-peak prices: a probability per step that a billed peak interval lies in it.

Any object with `probability` will do. Without a system load the calendar alone speaks; with one, what is forecast and how wrong it may be.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from math import comb
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats.qmc import Sobol

from ems.site.tariff import CoincidentPeak, Tariff
from ems.site.tariff_calendar import NOBODY, LocalTimes, month_start

Array = NDArray[np.float64]
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
    """From a forecast of the system's load: the chance that an interval is billed, as the highest of its day on one of the days that count.

    A rule by the month counts the highest day of each month (4CP, 12CP), a rule by the year the N highest days of the season (5CP).

    The load is its forecast plus an AR(1) error; the last error seen fades by `error_memory` an hour. Of a fixed set of `PATHS` courses of
    that error over a day, the interval must be the highest of its day, and fewer than N other days of the month or season may exceed the
    day's peak x: days seen, every other day that is forecast (each by its own courses) and all days beyond the forecast (each like the
    daily peaks of the last `LIKE_DAYS` days and of the days forecast, independent):

        P(i) = mean over courses of [i is the day's highest] [x > seen of its day] x P(days seen, forecast and beyond with a peak > x < N)

    The courses are quasi-random (Sobol), so that the same knowledge gives the same chance. Hours of one day belong together: taken as
    independent draws, tomorrow looks higher than it will be, and today is not acted in. tests/plan/test_tariff_peaks.py says how many
    intervals of generated summers are hit, and on how many days. Early in a season that still warms, days beyond look milder than they
    will be, and more peaks are expected than come.
    """

    MIN_DAYS = 5
    LIKE_DAYS = 30
    PATHS = 1024

    def __init__(self, tariff: Tariff, rule: CoincidentPeak, time_zone: str, error_share: float = 0.03, error_memory: float = 0.9) -> None:
        self.tariff, self.rule, self.time_zone = tariff, rule, time_zone
        self.count = rule.per_month or rule.per_year  # days of a month or season that are billed
        self.error_share, self.error_memory = max(error_share, 1e-3), error_memory
        self._error: tuple[float, float] | None = None  # when the load was last seen, and by how much it exceeded its forecast
        self._forecast: tuple[Array, Array] = (np.zeros(0), np.zeros(0))
        self._daily: dict[int, float] = {}  # local day -> highest load seen
        self._normal = np.zeros((self.PATHS, 0))

    def add_forecast(self, at_s: Array, load_kw: Array) -> None:
        """The newest forecast of the system's load: starts of its intervals, seconds since 1970, and means."""
        self._forecast = (np.asarray(at_s, float), np.asarray(load_kw, float))

    def observe(self, at_s: float, load_kw: float) -> None:
        """A load that was measured over the interval from `at_s` on."""
        forecast_kw = float(_highest(*self._forecast, np.array([at_s]), 1.0)[0])
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
        chance = np.zeros(len(begin))
        reach_s = self._forecast[0][-1] if len(self._forecast[0]) else begin[0]
        at_s = np.arange(begin[0], max(begin[-1], reach_s) + length_s, length_s)  # days that are forecast beyond those asked for count too
        times = LocalTimes(at_s, self.time_zone, self.tariff)
        highest = _highest(*self._forecast, at_s, length_s)
        can_peak = np.isfinite(highest) & eligible(self.rule, times)
        group = self._group(times.day_number)
        for key in np.unique(group[can_peak]):
            inside = np.flatnonzero(can_peak & (group == key))
            asked = inside[inside < len(begin)]
            if len(asked):
                found = self._of_group(int(key), at_s[inside], highest[inside], times.day_number[inside], now)
                chance[asked] = found[: len(asked)]
        return chance

    def _of_group(self, group: int, at_s: Array, load_kw: Array, day: NDArray[np.int64], now: datetime) -> Array:
        """Chance of each interval of a month or season."""
        sigma = self.error_share * max(float(load_kw.max()), *self._daily.values(), 1e-9)
        courses = {d: load_kw[day == d] + sigma * self._errors(at_s[day == d], now, sigma) for d in np.unique(day).tolist()}
        peaks = {d: np.sort(course.max(axis=1)) for d, course in courses.items()}
        forecast_kw = [float(p.mean()) for p in peaks.values()]
        in_group = self._group(np.array([*self._daily], np.int64)) == group
        seen = {d: kw for (d, kw), is_in in zip(self._daily.items(), in_group, strict=True) if is_in}
        past_kw = np.array([kw for d, kw in seen.items() if d not in courses])
        chance = np.zeros(len(load_kw))
        for d, course in courses.items():
            x = course.max(axis=1)
            higher = self._beyond(group, x, max(courses), forecast_kw)
            for other, peak in peaks.items():
                if other != d:
                    higher = _with_one_more(higher, np.searchsorted(np.maximum(peak, seen.get(other, 0.0)), x) / len(peak))
            room = self.count - (past_kw[:, None] >= x).sum(axis=0)  # days that count and are not taken by one seen
            weight = (x > seen.get(d, 0.0)) * (higher * (np.arange(self.count)[:, None] < room)).sum(axis=0)
            chance[day == d] = np.bincount(course.argmax(axis=1), weights=weight, minlength=course.shape[1]) / len(x)
        return chance

    def _errors(self, at_s: Array, now: datetime, sigma: float) -> Array:
        """Courses of the error over one day's intervals, in units of its deviation: from what is left of the last one on."""
        fades = self._fades(at_s, now)
        last = 0.0 if self._error is None else self._error[1] / sigma
        step = self.error_memory ** (np.diff(at_s, prepend=at_s[0]) / 3600.0)
        noise, error = self._draws(len(at_s)), np.empty((self.PATHS, len(at_s)))
        error[:, 0] = fades[0] * last + max(np.sqrt(1.0 - fades[0] ** 2), LEAST_ERROR) * noise[:, 0]
        for k in range(1, len(at_s)):
            error[:, k] = step[k] * error[:, k - 1] + np.sqrt(1.0 - step[k] ** 2) * noise[:, k]
        return error

    def _draws(self, n: int) -> Array:
        if self._normal.shape[1] < n:
            points = Sobol(n, scramble=False).random(2 * self.PATHS)[self.PATHS :]  # the first one is the corner
            self._normal = np.asarray(ndtri(points + 0.5 / (2 * self.PATHS)), float)
        return self._normal[:, :n]

    def _fades(self, begin_s: Array, now: datetime) -> Array:
        """What is left of the last error at each instant; nothing when it is older than a day."""
        if self._error is None or now.timestamp() - self._error[0] > 86400.0:
            return np.zeros(len(begin_s))
        lead_h = np.maximum(begin_s - self._error[0], 0.0) / 3600.0
        return np.asarray(self.error_memory**lead_h, float)

    def _beyond(self, group: int, x: Array, last_day: int, forecast_kw: Sequence[float]) -> Array:
        """Chance that 0, 1, ... days of the month or season after `last_day` exceed x: a row each, below the count that is billed."""
        days_left = int((self._group(np.arange(last_day + 1, last_day + 367)) == group).sum())
        seen = [kw for d, kw in self._daily.items() if d > last_day - len(forecast_kw) - self.LIKE_DAYS]
        peaks = np.array([*seen, *forecast_kw])
        is_known = len(seen) >= self.MIN_DAYS or not self.rule.per_month  # of a season nearly all days are beyond: none is left out
        if not days_left or not is_known:
            return np.repeat(np.eye(self.count)[:, :1], len(x), axis=1)
        spread = max(float(peaks.std()), self.error_share * float(peaks.mean()))
        below = ndtr((x - peaks.mean()) / spread)
        rows = [comb(days_left, k) * (1.0 - below) ** k * below ** max(0, days_left - k) for k in range(self.count)]
        return np.array(rows)

    def _group(self, day: NDArray[np.int64]) -> NDArray[np.int64]:
        """The month, or the year of the season, in which each local day counts; NOBODY in months without a peak."""
        month = day.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
        return np.where(np.isin(month % 12 + 1, self.rule.months), month if self.rule.per_month else month // 12, NOBODY)


def _with_one_more(higher: Array, below: Array) -> Array:
    """Chances of 0, 1, ... days above, once a day that stays below with chance `below` is counted in."""
    one_less = np.vstack([np.zeros_like(below), higher[:-1]])
    return np.asarray(higher * below + one_less * (1.0 - below), float)


def eligible(rule: CoincidentPeak, times: LocalTimes) -> NDArray[np.bool_]:
    """True where the rule's peak can lie."""
    hour = times.hour()
    return np.asarray(np.isin(times.month + 1, rule.months) & (hour >= rule.from_h) & (hour < rule.to_h))


def _highest(at_s: Array, load_kw: Array, begin_s: Array, length_s: float) -> Array:
    """Per interval the highest forecast that starts within it, else the one it lies in; NaN where there is none."""
    found = np.full(len(begin_s), np.nan)
    if not len(at_s):
        return found
    first, last = np.searchsorted(at_s, begin_s), np.searchsorted(at_s, begin_s + length_s)
    before = np.searchsorted(at_s, begin_s, side="right") - 1
    lies_in = (last == first) & (before >= 0) & (begin_s - at_s[before] < 3600.0)
    found[lies_in] = load_kw[before[lies_in]]
    found[last > first] = load_kw[first[last > first]]
    for k in np.flatnonzero(last > first + 1).tolist():
        found[k] = load_kw[first[k] : last[k]].max()
    return found
