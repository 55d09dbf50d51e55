"""Online linear regression on lags, calendar and harmonics, one set of coefficients per lead; recursive least squares from a prior.

Everything is taken above the last day's mean and in units of its spread, so that the same prior serves watts and requests.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np

from ems.forecast.naive import DAY_S, newest, values_at
from ems.forecast.pending import Pending, Progress
from ems.forecast.protocol import Floats, History, Ints
from ems.forecast.regression import LeadRegressions

PROFILE_DAYS = (1, 2, 3, 7)
FADE_H = 3.0  # the prior's fading of the present deviation from the days before
STIFFNESS, MEMORY_DAYS = 400.0, 14.0
LONG_CELLS = 6.0  # beyond this lead the prior weighs more with the lead: errors of overlapping leads are one error seen again
LAGS, HARMONICS = 9, 4
FEATURES = LAGS + HARMONICS + 1
FURTHEST = 4.0  # a forecast stays within this many spreads of the level
MOST_ERROR = 4.0  # an error counts at most this many typical ones


class OnlineLinear:
    """Learns per lead how much the newest values, yesterday, the days before and the time of day say about the target."""

    name = "linear"

    def __init__(self, leads: Ints) -> None:
        self.leads = leads
        self._model: LeadRegressions | None = None
        self._pending = Pending(leads, FEATURES + 2)
        self._progress = Progress(int(leads[-1]))
        self._typical = np.full(len(leads), 0.5)  # running mean absolute error, in units of the spread

    def update(self, history: History) -> Floats:
        """Learns from the new cells and forecasts one value per lead."""
        if self._model is None:
            prior = prior_coefficients(self.leads, history.step_s)
            stiffness = STIFFNESS * np.maximum(1.0, self.leads / LONG_CELLS)
            self._model = LeadRegressions(prior, 0.1, stiffness, MEMORY_DAYS * DAY_S / history.step_s)
        for cell in self._progress.new_cells(history):
            self._learn(self._model, history.target(cell), cell)
        level, unit, x = features(history, self.leads)
        self._pending.put(history.end, np.column_stack([x, np.full(len(x), level), np.full(len(x), unit)]))
        forecast: Floats = level + unit * np.clip(np.einsum("lf,lf->l", x, self._model.theta), -FURTHEST, FURTHEST)
        return forecast

    def _learn(self, model: LeadRegressions, actual: float, cell: int) -> None:
        rows, ok = self._pending.due(cell)
        x, level, unit = rows[:, :FEATURES], rows[:, -2], rows[:, -1]
        error = (actual - level) / unit - np.einsum("lf,lf->l", x, model.theta)
        ok = ok & np.isfinite(error)
        if ok.any():
            self._typical = np.where(ok, 0.995 * self._typical + 0.005 * np.abs(error), self._typical).clip(min=1e-3)
            clipped = np.clip(np.where(ok, error, 0.0), -MOST_ERROR * self._typical, MOST_ERROR * self._typical)
            model.update(np.where(ok[:, None], x, 0.0), clipped, ok)


def features(history: History, leads: Ints) -> tuple[float, float, Floats]:
    """Level and unit (mean and spread of the last day); per lead the FEATURES above the level in units. Missing counts as the level."""
    day = max(2, round(DAY_S / history.step_s))
    hour = max(1, round(3600.0 / history.step_s))
    level, unit = level_and_unit(history.values[-day:])
    now = newest(history)
    targets = np.append(history.end + leads - 1, history.end - 1)
    days = (days_before(history, targets, day) - level) / unit
    profile = np.nan_to_num(mean_rows(days), nan=0.0)
    first = np.where(np.isfinite(days[0]), days[0], profile)
    week = (values_at(history, targets - 7 * day * np.maximum(1, -((history.end - 1 - targets) // (7 * day)))) - level) / unit
    x = np.empty((len(leads), FEATURES))
    x[:, 0] = 0.0 if math.isnan(now) else (now - level) / unit
    x[:, 1] = (_mean(history.values[-hour:], level) - level) / unit
    x[:, 2] = (_mean(history.values[-3 * hour :], level) - level) / unit
    x[:, 3], x[:, 4], x[:, 5], x[:, 6] = first[:-1], profile[:-1], first[-1], profile[-1]
    x[:, 7] = np.where(np.isfinite(week), week, profile)[:-1]
    x[:, 8] = 0.5 * weekend(history, leads)
    angle = 2.0 * np.pi * (((history.end + leads - 1) * history.step_s) % DAY_S) / DAY_S
    x[:, 9:13] = 0.3 * np.stack([np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle)], axis=1)
    x[:, 13] = 0.3
    return level, unit, x


def prior_coefficients(leads: Ints, step_s: float) -> Floats:
    """Where the regression starts: days before plus the present deviation from them, fading."""
    theta = np.zeros((len(leads), FEATURES))
    fade = np.exp(-leads * step_s / 3600.0 / FADE_H)
    theta[:, 0], theta[:, 1] = 0.6 * fade, 0.4 * fade
    theta[:, 3], theta[:, 4], theta[:, 5], theta[:, 6] = 0.4, 0.5, -0.4 * fade, -0.5 * fade
    return theta


def level_and_unit(values: Floats) -> tuple[float, float]:
    """Mean and standard deviation of the finite values; the deviation is at least a hundredth of the mean, and never zero."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return 0.0, 1.0
    level = float(finite.mean())
    return level, max(float(finite.std()), 0.01 * abs(level), 1e-9)


def days_before(history: History, targets: Ints, day: int) -> Floats:
    """Mean of three cells around the same time of day, per profile day and target, from the newest day that is known."""
    first = np.maximum(1, -((history.end - 1 - targets) // day))
    cells = targets - day * (first + np.array(PROFILE_DAYS)[:, None] - 1)
    near = values_at(history, cells[None] + np.array([-1, 0, 1])[:, None, None])
    return mean_rows(near)


def weekend(history: History, leads: Ints) -> Floats:
    """1 for targets on Saturday or Sunday in the history's zone, else 0."""
    zone = ZoneInfo(history.time_zone)
    moment = datetime.fromtimestamp(history.end * history.step_s, UTC).astimezone(zone)
    seconds = moment.hour * 3600 + moment.minute * 60 + moment.second + (leads - 1) * history.step_s
    weekday = (moment.weekday() + seconds // DAY_S) % 7
    return np.where(weekday >= 5, 1.0, 0.0)


def mean_rows(values: Floats) -> Floats:
    """Mean over the first axis of what is finite, NaN where nothing is."""
    finite = np.isfinite(values)
    count = finite.sum(axis=0)
    means: Floats = np.where(count > 0, np.where(finite, values, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)
    return means


def _mean(values: Floats, otherwise: float) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else otherwise
