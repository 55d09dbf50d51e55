"""Quantiles around a point forecast from its own past errors, each error measured in what was expected of it at that moment.

Expected size per lead: `s = exp(w · z)`; `z` says how rough the last hours were, how large the newest errors, how high the load stands, how
far the point moves from the newest value and what time of day it is. `w` follows the gradient of the Laplace likelihood
`|e| / s + log s` (AdaGrad). The quantiles are those of the newest errors `e / s`, per lead and side, times the present `s`.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ems.forecast.pending import Pending, Progress
from ems.forecast.protocol import LEVEL_ARRAY, MEDIAN, Bools, Floats, Forecast, History, Ints, issue

# Student's t with three degrees of freedom in units of its mean absolute value, at even probabilities: assumed before anything is known.
ASSUMED_P = (np.arange(40) + 0.5) / 40.0
SHY = 20.0  # independent errors before half of their median is believed
KEPT_DAYS, LEAST_KEPT = 7.0, 200
ASSUMED_SHARE = 0.1
REREAD_CELLS = 6  # the table of error quantiles is read anew every so many errors
LONG_MEMORY, SHORT_MEMORY = 400.0, 8.0  # errors after which an old one weighs 1/e
FEATURES = 9
# Step of AdaGrad and the squared gradients it begins with; s stays within exp(±MOST_LOG). Chosen on the first two thirds of eight series.
RATE, CALM, MOST_LOG = 0.1, 10.0, 1.2


class PointForecaster(Protocol):
    """A forecast of the middle only."""

    name: str
    leads: Ints

    def update(self, history: History) -> Floats:
        """One value per lead, NaN where it has nothing to say; learns from the new cells first."""
        ...


class Dressed:
    """A Forecaster out of a point forecaster. `low`, `high` bound the values (a load is never negative).

    With `is_scaled` off the expected error is the running mean alone: the forecast of a plain error quantile.
    """

    def __init__(
        self, point: PointForecaster, low: float = 0.0, high: float = np.inf, name: str | None = None, is_scaled: bool = True
    ) -> None:
        self.point, self.leads, self.name = point, point.leads, name or point.name
        self.low, self.high, self.is_scaled = low, high, is_scaled
        self._errors: ErrorTable | None = None
        self._scale = ExpectedError(self.leads)
        self._pending = Pending(self.leads, 2 + FEATURES)
        self._progress = Progress(int(self.leads[-1]))

    def update(self, history: History) -> Forecast:
        """Learns from the new cells and forecasts."""
        if self._errors is None:
            assumed = ASSUMED_SHARE * typical_size(history)
            self._errors = ErrorTable(self.leads, max(LEAST_KEPT, int(KEPT_DAYS * 86400.0 / history.step_s)), assumed)
        middle = self.point.update(history)
        for cell in self._progress.new_cells(history):
            self._learn(history.target(cell), cell)
        z = np.zeros((len(self.leads), FEATURES))
        if self.is_scaled:
            z = scale_features(history, self.leads, middle, self._scale.restless())
        scale = self._scale.expected(z)
        self._pending.put(history.end, np.column_stack([middle, scale, z]))
        values = np.clip(middle + scale * self._errors.quantiles(), self.low, self.high)
        return issue(history, self.name, self.leads, values)

    def _learn(self, actual: float, cell: int) -> None:
        rows, ok = self._pending.due(cell)
        error = actual - rows[:, 0]
        ok = ok & np.isfinite(error)
        if ok.any() and self._errors is not None:
            self._errors.add(error / rows[:, 1], ok)
            self._scale.learn(abs(error), rows[:, 1], rows[:, 2:], ok)


class ErrorTable:
    """The newest `kept` errors per lead in units of what was expected, and their quantiles `[level, lead]`."""

    def __init__(self, leads: Ints, kept: int, assumed_size: float) -> None:
        assumed = assumed_size * (2.0 * ASSUMED_P - 1.0) / np.sqrt(2.0 * ASSUMED_P * (1.0 - ASSUMED_P)) / 1.3
        self._errors = np.full((len(leads), kept), np.nan)
        self._errors[:, : len(assumed)] = assumed
        self._next = np.zeros(len(leads), dtype=np.intp)  # the assumed errors are the first to be replaced
        self._count = np.full(len(leads), len(assumed))
        self._unread, self._leads = REREAD_CELLS, leads
        self._table = np.empty((len(LEVEL_ARRAY), len(leads)))

    def add(self, errors: Floats, ok: Bools) -> None:
        """One error per lead where `ok`."""
        rows, kept = np.flatnonzero(ok), self._errors.shape[1]
        self._errors[rows, self._next[rows]] = errors[rows]
        self._next[rows] = (self._next[rows] + 1) % kept
        self._count[rows] = np.maximum(self._count[rows], np.where(self._next[rows] == 0, kept, self._next[rows]))
        self._unread += 1

    def quantiles(self) -> Floats:
        """Order statistics with the finite-sample correction of conformal prediction: a short memory reads further out."""
        if self._unread >= REREAD_CELLS:
            ordered, n = np.sort(self._errors, axis=1), self._count
            place = np.clip(LEVEL_ARRAY[:, None] * (n + 1) - 1.0, 0, n - 1)
            low = place.astype(np.intp)
            high = np.minimum(low + 1, n - 1)
            rows, share = np.arange(len(n)), place - low
            table = ordered[rows, low] * (1.0 - share) + ordered[rows, high] * share
            independent = n / self._leads  # errors of neighbouring cells at a long lead are one error
            self._table = table - table[MEDIAN] * SHY / (SHY + independent)
            self._unread = 0
        return self._table


class ExpectedError:
    """How large an error is expected per lead, relative to an ordinary one: `exp(w · z)`."""

    def __init__(self, leads: Ints) -> None:
        self._w = np.zeros((len(leads), FEATURES))
        self._gradients = np.full((len(leads), FEATURES), CALM)
        self._long = np.full(len(leads), np.nan)  # running means of the absolute error: of hours, of days
        self._short = np.full(len(leads), np.nan)
        self._seen = np.zeros(len(leads))

    def restless(self) -> Floats:
        """Logarithm of the newest errors' size against the last days', per lead."""
        long = np.where(self._long > 0, self._long, 1.0)
        return np.where(self._long > 0, np.log((np.nan_to_num(self._short) + 0.05 * long) / (1.05 * long)), 0.0)

    def expected(self, z: Floats) -> Floats:
        """Relative size per lead."""
        scale: Floats = np.exp(np.clip(np.einsum("lf,lf->l", z, self._w), -MOST_LOG, MOST_LOG))
        return scale

    def learn(self, error: Floats, scale: Floats, z: Floats, ok: Bools) -> None:
        """One absolute error per lead where `ok`, with the scale and features it was issued with."""
        self._seen += ok
        first = ok & np.isnan(self._long)
        self._long, self._short = np.where(first, error, self._long), np.where(first, error, self._short)
        self._long += np.where(ok, (error - self._long) * np.maximum(1.0 / np.maximum(self._seen, 1.0), 1.0 / LONG_MEMORY), 0.0)
        self._short += np.where(ok, (error - self._short) / SHORT_MEMORY, 0.0)
        typical = np.where(self._long > 0, self._long, 1.0)
        gradient = np.where(ok, 1.0 - np.minimum(error / (typical * scale), 5.0), 0.0)[:, None] * np.where(ok[:, None], z, 0.0)
        self._gradients += gradient**2
        self._w -= RATE * gradient / np.sqrt(self._gradients)


def scale_features(history: History, leads: Ints, middle: Floats, restless: Floats) -> Floats:
    """Per lead: roughness of the last hour and last six against the last day's, level, distance of the point from now, harmonics."""
    values = history.values[-max(24, int(86400 / history.step_s)) :]
    per_hour = max(1, round(3600.0 / history.step_s))
    day, newest = _mean(np.abs(values)), _newest(values)
    moves = np.abs(np.diff(values))
    rough = _mean(moves) + 1e-6 * day + 1e-12
    z = np.zeros((len(leads), FEATURES))
    z[:, 0] = np.log((_mean(moves[-max(3, per_hour) :], rough) + 0.1 * rough) / rough)
    z[:, 1] = np.log((_mean(moves[-6 * per_hour :], rough) + 0.1 * rough) / rough)
    z[:, 2] = np.log((abs(newest) + 0.1 * day + 1e-12) / (1.1 * day + 1e-12))
    z[:, 3] = np.log1p(np.nan_to_num(abs(middle - newest)) / (3.0 * rough))
    angle = 2.0 * np.pi * (((history.end + leads - 1) * history.step_s) % 86400.0) / 86400.0
    z[:, 4], z[:, 5], z[:, 6], z[:, 7] = np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle)
    z[:, 8] = restless
    return z


def typical_size(history: History) -> float:
    """Mean absolute value of the first values seen."""
    return _mean(np.abs(history.values[-12:]), 1.0) + 1e-9


def _mean(values: Floats, otherwise: float = 0.0) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else otherwise


def _newest(values: Floats) -> float:
    finite = values[np.isfinite(values)]
    return float(finite[-1]) if len(finite) else 0.0
