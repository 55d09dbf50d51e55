"""Day-ahead prices not published yet, from past ones and the calendar: two ridge regressions a day, averaged.

One looks at all hours of the days before (every hour of the target has a coefficient for every hour of days 1, 2, 3 and 7 before, after
Lago, Marcjasz, De Schutter and Weron 2021), one only at the own hour and summaries of the days (fewer coefficients, surer). Prices go
through asinh in units of the last two months' spread. Both are fitted anew each day from the history, so nothing is kept between days.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from ems.forecast.banded import Banded
from ems.forecast.conformal import Conformal
from ems.forecast.protocol import Floats, Forecaster, History, Ints

HOURS, WEEK = 24, 7
LAGS = (1, 2, 3, 7)
LEAST_DAYS = 28
LONGEST_DAYS = 730  # older days are not looked at
SCALE_DAYS = 60
HALF_LIFE_DAYS = 365.0
RIDGE_ALL, RIDGE_OWN = 100.0, 5.0
YEAR_DAYS = 365.25


def next_day(leads: Ints, low: float = -np.inf, high: float = np.inf) -> Forecaster:
    """Quantiles of the day-ahead price per hour; updated when a whole local day is known."""
    return Conformal(Banded(NextDay(leads), low, high), low=low, high=high)


class NextDay:
    """A point forecaster on hourly cells: whole local days after the last complete one; NaN before LEAST_DAYS and beyond its reach."""

    name = "next day"

    def __init__(self, leads: Ints, ahead_days: int = 3) -> None:
        self.leads, self.ahead_days = leads, ahead_days
        self._last: tuple[int, Floats] | None = None  # the last day known and what was forecast for those after it

    def update(self, history: History) -> Floats:
        """One value per lead."""
        days, ordinal = local_days(history)
        if len(days) < LEAST_DAYS:
            return np.full(len(self.leads), np.nan)
        last = ordinal + len(days) - 1
        if self._last is None or self._last[0] != last:
            self._last = last, self._days_ahead(days, ordinal)
        return self._at_leads(history, last, self._last[1])

    def _days_ahead(self, days: Floats, ordinal: int) -> Floats:
        """`[day, hour]`; each day counts as known for the next."""
        first = max(0, len(days) - LONGEST_DAYS)
        known, begin = days[first:], ordinal + first
        for _ in range(self.ahead_days):
            known = np.vstack([known, following_day(known, begin)])
        return known[-self.ahead_days :]

    def _at_leads(self, history: History, last: int, ahead: Floats) -> Floats:
        zone = ZoneInfo(history.time_zone)
        values = np.full(len(self.leads), np.nan)
        for i, lead in enumerate(self.leads):
            moment = datetime.fromtimestamp((history.end + int(lead) - 1) * history.step_s, UTC).astimezone(zone)
            day = moment.date().toordinal() - last - 1
            if 0 <= day < len(ahead):
                values[i] = ahead[day, moment.hour]
        return values


def following_day(days: Floats, first_ordinal: int) -> Floats:
    """24 prices of the day after the last of `days[day, hour]`; `first_ordinal` dates the first of them."""
    center = float(np.median(days[-SCALE_DAYS:]))
    scale = max(1.4826 * float(np.median(np.abs(days[-SCALE_DAYS:] - center))), 0.01 * abs(center), 1e-9)
    z = np.arcsinh((days - center) / scale)
    index = np.arange(2 * WEEK, len(z) + 1)  # the days that have a fortnight before them, then the one to forecast
    weekday = np.eye(WEEK)[(first_ordinal + index - 1) % WEEK]
    weight = 0.5 ** ((len(z) - index[:-1]) / HALF_LIFE_DAYS)
    angle = 2.0 * np.pi * (first_ordinal + index) / YEAR_DAYS
    year = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    both = 0.5 * (_from_all_hours(z, index, weekday, year, weight) + _from_own_hour(z, index, weekday, weight))
    return center + scale * np.sinh(np.clip(both, z.min() - 1.0, z.max() + 1.0))


def _from_all_hours(z: Floats, index: Ints, weekday: Floats, year: Floats, weight: Floats) -> Floats:
    week = np.mean([z[index - k] for k in range(1, WEEK + 1)], axis=0)
    fortnight = 0.5 * (z[index - WEEK] + z[index - 2 * WEEK])
    x = np.concatenate([*(z[index - k] for k in LAGS), week.mean(axis=1, keepdims=True), fortnight, week, weekday, year], axis=1)
    mean = weight @ x[:-1] / weight.sum()
    x = (x - mean) / (np.sqrt(weight @ (x[:-1] - mean) ** 2 / weight.sum()) + 1e-3)
    target = z[index[:-1]]
    level = weight @ target / weight.sum()
    weighted = x[:-1] * weight[:, None]
    theta = np.linalg.solve(weighted.T @ x[:-1] + RIDGE_ALL * np.eye(x.shape[1]), weighted.T @ (target - level))
    day: Floats = level + x[-1] @ theta
    return day


def _from_own_hour(z: Floats, index: Ints, weekday: Floats, weight: Floats) -> Floats:
    daily = z.mean(axis=1)
    yesterday = z[index - 1]
    week = np.mean([z[index - k] for k in range(1, WEEK + 1)], axis=0)
    of_hour = [yesterday, z[index - 2], z[index - WEEK], week, 0.5 * (z[index - WEEK] + z[index - 2 * WEEK])]
    of_day = [yesterday[:, -1], yesterday[:, 20:23].mean(axis=1), yesterday.min(axis=1), yesterday.max(axis=1)]
    of_day += [daily[index - 1], daily[index - 2], daily[index - WEEK], *weekday.T]
    x = np.stack([*of_hour, *(np.repeat(v[:, None], HOURS, axis=1) for v in of_day)], axis=2)  # [day, hour, feature]
    x = x - np.einsum("d,dhf->hf", weight, x[:-1]) / weight.sum()
    target = z[index[:-1]]
    level = weight @ target / weight.sum()
    weighted = x[:-1] * weight[:, None, None]
    a = np.einsum("dhf,dhg->hfg", weighted, x[:-1])
    b = np.einsum("dhf,dh->hf", weighted, target - level)
    theta = np.linalg.solve(a + RIDGE_OWN * np.eye(x.shape[2]), b[:, :, None])[:, :, 0]
    day: Floats = level + np.einsum("hf,hf->h", x[-1], theta)
    return day


def local_days(history: History) -> tuple[Floats, int]:
    """Prices as `[local day, hour]` and the ordinal of the first day: whole days only, in one piece up to the last complete one.

    The hour a clock change skips takes the mean of its neighbours, a repeated one the mean of both; a day with more missing ends the piece.
    """
    if not len(history.values):
        return np.empty((0, HOURS)), 0
    zone = ZoneInfo(history.time_zone)
    moment = datetime.fromtimestamp(history.first * history.step_s, UTC).astimezone(zone)
    first = moment.date()
    span = int(len(history.values) * history.step_s // 86400) + 2
    total, count = np.zeros((span, HOURS)), np.zeros((span, HOURS))
    day, hour = _places(history, zone, first.toordinal())
    finite = np.isfinite(history.values)
    np.add.at(total, (day[finite], hour[finite]), history.values[finite])
    np.add.at(count, (day[finite], hour[finite]), 1.0)
    table = np.where(count > 0, total / np.maximum(count, 1.0), np.nan)
    return _last_piece(table, first.toordinal())


def _places(history: History, zone: ZoneInfo, first_ordinal: int) -> tuple[Ints, Ints]:
    """Local day (counted from the first) and hour of each cell; the zone is asked once a day and where its offset changes within one."""
    start = datetime.fromtimestamp(history.first * history.step_s, UTC)
    cells = len(history.values)
    seconds = np.arange(cells) * history.step_s
    day_of = (seconds // 86400).astype(np.intp)
    offsets = np.array([_offset_s(start + timedelta(days=int(d)), zone) for d in range(int(day_of[-1]) + 2)])
    offset = offsets[day_of]
    for d in np.flatnonzero(np.diff(offsets)):  # a day in which the clock changes
        inside = np.flatnonzero(day_of == d)
        offset[inside] = [_offset_s(start + timedelta(seconds=float(seconds[i])), zone) for i in inside]
    local = start.timestamp() + seconds + offset
    day = (local // 86400).astype(np.intp) + datetime(1970, 1, 1).toordinal() - first_ordinal
    return day, (local % 86400 // 3600).astype(np.intp)


def _offset_s(moment: datetime, zone: ZoneInfo) -> float:
    offset = moment.astimezone(zone).utcoffset()
    return 0.0 if offset is None else offset.total_seconds()


def _last_piece(table: Floats, first_ordinal: int) -> tuple[Floats, int]:
    missing = np.isnan(table)
    lone = missing & (missing.sum(axis=1)[:, None] == 1)
    left, right = np.roll(table, 1, axis=1), np.roll(table, -1, axis=1)
    table = np.where(lone, 0.5 * (left + right), table)
    whole = np.asarray(np.isfinite(table).all(axis=1))
    if not whole.any():
        return np.empty((0, HOURS)), first_ordinal
    end = int(np.flatnonzero(whole)[-1]) + 1
    begin = int(np.flatnonzero(~whole[:end])[-1]) + 1 if (~whole[:end]).any() else 0
    return table[begin:end], first_ordinal + begin
