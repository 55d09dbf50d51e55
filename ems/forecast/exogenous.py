"""Prices, carbon, temperature ahead: the usual day, moved by how far the last values stand from it, with coefficients learnt per lead.

Works in units of the series' own spread (`ems.forecast.asinh` brings values there). The usual day is kept three times (fast, slow, by
hour of the week); everything else is a deviation from the slow one. The regression is fitted by reweighted least squares on the absolute
error, so that it gives the median, with a memory of some weeks and a prior that is persistence at short leads, the days before at long.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np

from ems.forecast.pending import Pending
from ems.forecast.protocol import Floats, History, Ints

DAY_S, WEEK_HOURS = 86400.0, 168
FAST, SLOW, WEEKLY = 0.3, 0.07, 0.25  # share of a new value in the usual day: of days, of two weeks, by hour of the week
MEMORY_DAYS = 25.0
RIDGE = 10.0  # weight of the prior, in errors of one unit per cell of lead
LEAST_ERROR = 0.5  # errors below this many units count squared, above absolute
PRIOR_FADE_H = 3.0
PLAIN, AHEAD = 16, 3  # features without and with a series known ahead
FADE_MISSING = 0.95  # of the deviation kept per cell while nothing is measured
KEPT_DAYS = 16
UNIT_DAYS = 7.0  # memory of the typical deviation


@dataclass(frozen=True)
class Ahead:
    """What is published for cells to come (a day-ahead price): `values[i]` of cell `first + i` is known from the end of cell
    `known_from[i] - 1` on. NaN where there is none."""

    first: int
    values: Floats
    known_from: Ints

    @classmethod
    def nothing(cls) -> Ahead:
        """Nothing is published."""
        return cls(0, np.empty(0), np.empty(0, dtype=np.intp))

    def at(self, cells: Ints, end: int) -> Floats:
        """Values of these cells as known at the end of cell `end - 1`, NaN where unknown."""
        places = np.asarray(cells) - self.first
        inside = (places >= 0) & (places < len(self.values))
        if not inside.any():
            return np.full(places.shape, np.nan)
        places = np.where(inside, places, 0)
        return np.where(inside & (self.known_from[places] <= end), self.values[places], np.nan)


class SeasonalRegression:
    """A point forecaster (median per lead), NaN until `least_days` of history are known.

    With `with_ahead` it builds on what `ahead` (set before every update) says of the target and is NaN where that is not known.
    """

    name = "seasonal regression"

    def __init__(self, leads: Ints, with_ahead: bool = False, least_days: float = 2.0) -> None:
        self.leads = np.asarray(leads)
        self.ahead = Ahead.nothing()
        self._least_days = least_days
        self._extra = AHEAD if with_ahead else 0
        self._usual: UsualDay | None = None
        self._end = 0
        self._seen = np.empty((0, 0))  # the rows of the newest end

    def update(self, history: History) -> Floats:
        """Learns from the new cells and forecasts one value per lead."""
        if self._usual is None and not self._begin(history):
            return np.full(len(self.leads), np.nan)
        assert self._usual is not None
        for cell in range(max(self._end, history.first), history.end):
            self._take(self._usual, history, cell)
        self._end = max(self._end, history.end)
        rows = self._seen if len(self._seen) else self._rows(self._usual, history.end)
        forecast: Floats = rows[:, -1] + self._usual.unit * self._regression.predict(rows[:, :-2])
        return forecast

    def _begin(self, history: History) -> bool:
        n = round(DAY_S / history.step_s)
        if np.isfinite(history.values).sum() < self._least_days * n:
            return False
        self._usual = UsualDay(history)
        self._regression = Regression(self.leads, history.step_s, self._extra)
        self._pending = Pending(self.leads, PLAIN + self._extra + 2)
        self._end = max(history.first, history.end - KEPT_DAYS * n)
        return True

    def _take(self, usual: UsualDay, history: History, cell: int) -> None:
        """Learns from one cell, then notes what is seen from its end."""
        target = history.target(cell)
        rows, ok = self._pending.due(cell)
        ok = ok & np.isfinite(target - rows.sum(axis=1))
        if ok.any():
            self._regression.learn(rows[:, :-2], (target - rows[:, -1]) / rows[:, -2], ok)
        usual.take(cell, float(history.values[cell - history.first]), np.isfinite(target))
        if usual.is_last_of_day(cell):
            self._regression.refit()
        self._seen = self._rows(usual, cell + 1)
        self._pending.put(cell + 1, self._seen)

    def _rows(self, usual: UsualDay, end: int) -> Floats:
        """Per lead: the features in units of the typical deviation, that unit, the usual value of the target."""
        cells = end + self.leads - 1
        base = usual.slow_at(cells)
        parts = [features(usual, end - 1, cells, base)]
        if self._extra:
            parts.append(ahead_features(usual, self.ahead, end - 1, cells, base))
        return np.column_stack([*(part / usual.unit for part in parts), np.full(len(base), usual.unit), base])


class UsualDay:
    """Running usual values by time of day (fast, slow) and hour of the week, in local time, and the newest deviations from the slow one."""

    def __init__(self, history: History) -> None:
        self.zone, self.step_s = history.time_zone, history.step_s
        self.n = round(DAY_S / history.step_s)
        self.hour = max(1, round(3600.0 / history.step_s))
        self._size = KEPT_DAYS * self.n
        self._deviation = np.zeros(self._size)
        self._value = np.zeros(self._size)
        days = self.n * max(1, min(7, len(history.values) // self.n))
        begin = max(history.first, history.end - KEPT_DAYS * self.n)  # the oldest days that are learnt from
        first = history.values[begin - history.first :][:days]
        self._slow = self._first_profile(first, begin)
        self._fast = self._slow.copy()
        self.unit = max(float(np.nanmean(np.abs(first - self.slow_at(begin + np.arange(len(first)))))), 1e-9)  # typical deviation
        self._week = np.array([self._slow[(h % 24) * self.n // 24] for h in range(WEEK_HOURS)])

    def _first_profile(self, values: Floats, first_cell: int) -> Floats:
        """Median per time of day, the median of all where a time was never seen."""
        places = self.time_of_day(first_cell + np.arange(len(values)))
        middle = float(np.nanmedian(values)) if np.isfinite(values).any() else 0.0
        profile = np.full(self.n, middle)
        for i in range(self.n):
            seen = values[places == i]
            seen = seen[np.isfinite(seen)]
            if len(seen):
                profile[i] = np.median(seen)
        return profile

    def take(self, cell: int, value: float, is_true: bool) -> None:
        """Takes one cell; a missing one keeps the deviation before, fading; an estimate moves no usual value."""
        i, h = int(self.time_of_day(np.array([cell]))[0]), int(self.hour_of_week(np.array([cell]))[0])
        before = self._deviation[(cell - 1) % self._size]
        deviation = value - self._slow[i] if np.isfinite(value) else FADE_MISSING * before
        self._deviation[cell % self._size] = deviation
        self._value[cell % self._size] = self._slow[i] + deviation
        if is_true:
            self.unit += (max(abs(deviation), 1e-9) - self.unit) / (UNIT_DAYS * self.n)
            self._fast[i] += FAST * (value - self._fast[i])
            self._slow[i] += SLOW * (value - self._slow[i])
            self._week[h] += WEEKLY / self.hour * (value - self._week[h])

    def time_of_day(self, cells: Ints) -> Ints:
        """Which cell of the local day each is."""
        return (np.asarray(cells) + offset_cells(self.zone, self.step_s, cells)) % self.n

    def hour_of_week(self, cells: Ints) -> Ints:
        """0 to 167 in local time."""
        local = np.asarray(cells) + offset_cells(self.zone, self.step_s, cells)
        return (local * self.step_s // 3600.0).astype(np.intp) % WEEK_HOURS

    def is_last_of_day(self, cell: int) -> bool:
        """True once a day."""
        return (cell + 1) % self.n == 0

    def slow_at(self, cells: Ints) -> Floats:
        """The usual value of these cells."""
        return self._slow[self.time_of_day(cells)]

    def fast_at(self, cells: Ints) -> Floats:
        """The usual value of the last days."""
        return self._fast[self.time_of_day(cells)]

    def week_at(self, cells: Ints) -> Floats:
        """The usual value of that hour of the week."""
        return self._week[self.hour_of_week(cells)]

    def value(self, cells: Ints) -> Floats:
        """What was measured (or stood in) at cells of the last KEPT_DAYS."""
        return self._value[np.asarray(cells) % self._size]

    def deviation(self, cells: Ints) -> Floats:
        """How far it stood from the usual value."""
        return self._deviation[np.asarray(cells) % self._size]

    def deviation_mean(self, end: int, count: int) -> float:
        """Mean deviation of the `count` cells before `end`."""
        return float(self._deviation[np.arange(end - count, end) % self._size].mean())

    def around(self, cells: Ints, end: int) -> Floats:
        """Mean deviation of the hour around each cell, only cells before `end`."""
        near = np.asarray(cells)[:, None] + np.arange(-(self.hour // 2), self.hour // 2 + 1)
        return self._deviation[np.minimum(near, end - 1) % self._size].mean(axis=1)


class Regression:
    """One set of coefficients per lead, least absolute deviation by reweighting, refitted daily from sums that fade."""

    def __init__(self, leads: Ints, step_s: float, extra: int) -> None:
        self._prior = prior_coefficients(np.asarray(leads * step_s / 3600.0, float), extra)
        self._ridge = RIDGE * np.minimum(leads, DAY_S / step_s)  # errors of overlapping leads are one error seen again
        self.theta = self._prior.copy()
        size = self._prior.shape[1]
        self._a, self._b = np.zeros((len(leads), size, size)), np.zeros((len(leads), size))

    def learn(self, x: Floats, target: Floats, ok: np.ndarray) -> None:
        """One row per lead where `ok`."""
        x, target = np.where(ok[:, None], x, 0.0), np.where(ok, target, 0.0)
        weight = 1.0 / np.maximum(np.abs(target - self.predict(x)), LEAST_ERROR)
        weighted = x * weight[:, None]
        self._a += weighted[:, :, None] * x[:, None, :]
        self._b += weighted * target[:, None]

    def refit(self) -> None:
        """Once a day: new coefficients, older rows fade."""
        ridge = self._ridge[:, None, None] * np.eye(self._a.shape[1])
        pulled = self._b + self._ridge[:, None] * self._prior
        self.theta = np.asarray(np.linalg.solve(self._a + ridge, pulled[:, :, None])[:, :, 0], float)
        keep = np.exp(-1.0 / MEMORY_DAYS)
        self._a *= keep
        self._b *= keep

    def predict(self, x: Floats) -> Floats:
        """One value per lead."""
        value: Floats = np.einsum("lf,lf->l", x, self.theta)
        return value


def features(usual: UsualDay, origin: int, cells: Ints, base: Floats) -> Floats:
    """Per target cell, the PLAIN features seen from the end of cell `origin`; `base` is the usual value of the targets."""
    n, hour = usual.n, usual.hour
    back = cells - n * -(-(cells - origin) // n)
    newest = int(origin)
    x = np.empty((len(cells), PLAIN))
    x[:, 0] = usual.deviation(np.array([newest]))[0]
    x[:, 1] = usual.deviation_mean(newest + 1, hour)
    x[:, 2] = usual.deviation_mean(newest + 1, n)
    x[:, 3] = usual.around(back, newest + 1)
    x[:, 4] = usual.fast_at(cells) - base
    x[:, 5] = usual.week_at(cells) - base
    x[:, 6] = usual.unit
    x[:, 7] = 0.3 * base
    x[:, 8] = usual.deviation_mean(newest + 1, 7 * n)
    x[:, 9] = usual.slow_at(np.array([newest]))[0] - base
    x[:, 10] = np.diff(usual.value(np.array([newest - 1, newest])))[0]
    x[:, 11] = usual.deviation(np.array([newest - n]))[0]
    x[:, 12] = usual.deviation_mean(newest, hour) - usual.deviation_mean(newest - hour, hour)
    x[:, 13] = usual.around(back - n, newest + 1)
    x[:, 14] = usual.around(cells - 7 * n, newest + 1)
    x[:, 15] = usual.week_at(back) - base
    return x


def ahead_features(usual: UsualDay, ahead: Ahead, origin: int, cells: Ints, base: Floats) -> Floats:
    """What was published for the targets above their usual value, and how far the newest value and the last hour stand from it."""
    hour = np.arange(origin - usual.hour + 1, origin + 1)
    apart = usual.value(hour) - ahead.at(hour, origin + 1)
    x = np.empty((len(cells), AHEAD))
    x[:, 0] = ahead.at(cells, origin + 1) - base
    x[:, 1] = apart[-1] if np.isfinite(apart[-1]) else 0.0
    x[:, 2] = apart.mean() if np.isfinite(apart).all() else x[0, 1]
    return x


def prior_coefficients(lead_h: Floats, extra: int) -> Floats:
    """Where each lead starts: the newest value fading into the days before; with something known ahead, that."""
    fade = np.exp(-lead_h / PRIOR_FADE_H)
    prior = np.zeros((len(lead_h), PLAIN + extra))
    rest = 1.0 - fade
    prior[:, 0], prior[:, 9] = fade, 0.5 * fade
    prior[:, 2], prior[:, 3], prior[:, 5] = 0.2 * rest, 0.35 * rest, 0.3 * rest
    if extra:
        prior *= np.where(np.arange(PLAIN + extra) < PLAIN, 0.0, 1.0)
        prior[:, PLAIN], prior[:, PLAIN + 1] = 1.0, fade
    return prior


def offset_cells(zone: str, step_s: float, cells: Ints) -> Ints:
    """How many cells local time is ahead of UTC at each cell."""
    if zone == "UTC":
        return np.zeros(np.shape(cells), dtype=np.intp)
    hours = (np.asarray(cells) * step_s // 3600.0).astype(np.intp)
    first, last = (_offset_s(zone, int(hour)) for hour in (hours.min(), hours.max()))
    if first == last and hours.max() - hours.min() < 30 * 24:  # two changes of the clock lie months apart
        return np.full(hours.shape, round(first / step_s), dtype=np.intp)
    return np.array([round(_offset_s(zone, int(h)) / step_s) for h in hours.ravel()], dtype=np.intp).reshape(hours.shape)


@lru_cache(maxsize=100_000)
def _offset_s(zone: str, hour: int) -> float:
    offset = datetime.fromtimestamp(3600 * hour, UTC).astimezone(ZoneInfo(zone)).utcoffset()
    return 0.0 if offset is None else offset.total_seconds()
