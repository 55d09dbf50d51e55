"""Quantiles around a point forecast from its own past errors, each error measured in what was expected of it at that moment.

Expected error per lead: `base × exp(w · z)`; `base` is a running mean of the absolute error, `z` says how rough the last hours were, how
high the load stands, how far the point moves from the newest value and what time of day it is. `w` follows the gradient of the Laplace
likelihood `|e| / s + log s` (AdaGrad). The quantiles are those of the newest errors in units of `s`, per lead and side.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ems.forecast.pending import Pending, Progress
from ems.forecast.protocol import LEVEL_ARRAY, Bools, Floats, Forecast, History, Ints, issue

# Student's t with three degrees of freedom in units of its mean absolute value, at even probabilities: assumed before anything is known.
ASSUMED_P = (np.arange(40) + 0.5) / 40.0
KEPT_DAYS, LEAST_KEPT = 7.0, 400
REREAD_CELLS = 6  # the table of error quantiles is read anew every so many errors
BASE_MEMORY = 300.0  # errors after which an old one weighs 1/e in `base`
FEATURES = 8
RATE, MOST_LOG = 0.1, 1.2  # step of AdaGrad; s stays within exp(±MOST_LOG) of base


class PointForecaster(Protocol):
    """A forecast of the middle only."""

    name: str
    leads: Ints

    def update(self, history: History) -> Floats:
        """One value per lead, NaN where it has nothing to say; learns from the new cells first."""
        ...


class Dressed:
    """A Forecaster out of a point forecaster. `low`, `high` bound the values (a load is never negative)."""

    def __init__(self, point: PointForecaster, low: float = 0.0, high: float = np.inf, name: str | None = None) -> None:
        self.point, self.leads, self.name = point, point.leads, name or point.name
        self.low, self.high = low, high
        self._errors: ErrorTable | None = None
        self._scale = ExpectedError(self.leads)
        self._pending = Pending(self.leads, 2 + FEATURES)
        self._progress = Progress(int(self.leads[-1]))

    def update(self, history: History) -> Forecast:
        """Learns from the new cells and forecasts."""
        if self._errors is None:
            self._errors = ErrorTable(self.leads, max(LEAST_KEPT, int(KEPT_DAYS * 86400.0 / history.step_s)))
        middle = self.point.update(history)
        for cell in self._progress.new_cells(history):
            self._learn(history.target(cell), cell)
        z = scale_features(history, self.leads, middle)
        scale = self._scale.expected(z, history)
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

    def __init__(self, leads: Ints, kept: int) -> None:
        assumed = (2.0 * ASSUMED_P - 1.0) / np.sqrt(2.0 * ASSUMED_P * (1.0 - ASSUMED_P)) / 1.3
        self._errors = np.full((len(leads), kept), np.nan)
        self._errors[:, : len(assumed)] = assumed
        self._next = np.full(len(leads), len(assumed))
        self._count = np.full(len(leads), len(assumed))
        self._unread = REREAD_CELLS
        self._table = np.empty((len(LEVEL_ARRAY), len(leads)))

    def add(self, errors: Floats, ok: Bools) -> None:
        """One error per lead where `ok`."""
        rows, kept = np.flatnonzero(ok), self._errors.shape[1]
        self._errors[rows, self._next[rows]] = errors[rows]
        self._next[rows] = (self._next[rows] + 1) % kept
        self._count[rows] = np.minimum(self._count[rows] + 1, kept)
        self._unread += 1

    def quantiles(self) -> Floats:
        """Order statistics with the finite-sample correction of conformal prediction: a short memory reads further out."""
        if self._unread >= REREAD_CELLS:
            ordered, n = np.sort(self._errors, axis=1), self._count
            place = np.clip(LEVEL_ARRAY[:, None] * (n + 1) - 1.0, 0, n - 1)
            low = place.astype(np.intp)
            high = np.minimum(low + 1, n - 1)
            rows, share = np.arange(len(n)), place - low
            self._table = ordered[rows, low] * (1.0 - share) + ordered[rows, high] * share
            self._unread = 0
        return self._table


class ExpectedError:
    """The absolute error expected per lead."""

    def __init__(self, leads: Ints) -> None:
        self._base = np.full(len(leads), np.nan)
        self._seen = np.zeros(len(leads))
        self._w = np.zeros((len(leads), FEATURES))
        self._gradients = np.full((len(leads), FEATURES), 10.0)

    def expected(self, z: Floats, history: History) -> Floats:
        """Per lead; before any error was seen a tenth of the newest values' size."""
        size = np.abs(history.values[-12:])
        finite = size[np.isfinite(size)]
        assumed = 0.1 * float(finite.mean()) + 1e-9 if len(finite) else 1.0
        base = np.where(np.isnan(self._base), assumed, self._base)
        scale: Floats = np.maximum(base * np.exp(self._log(z)), 1e-4 * assumed)
        return scale

    def learn(self, error: Floats, scale: Floats, z: Floats, ok: Bools) -> None:
        """One absolute error per lead where `ok`, with the scale and features it was issued with."""
        self._seen += ok
        share = np.maximum(1.0 / np.maximum(self._seen, 1.0), 1.0 / BASE_MEMORY)
        detrended = error / np.exp(self._log(z))
        self._base = np.where(ok, np.where(np.isnan(self._base), detrended, self._base + share * (detrended - self._base)), self._base)
        gradient = np.where(ok, 1.0 - np.minimum(error / scale, 5.0), 0.0)[:, None] * np.where(ok[:, None], z, 0.0)
        self._gradients += gradient**2
        self._w -= RATE * gradient / np.sqrt(self._gradients)

    def _log(self, z: Floats) -> Floats:
        clipped: Floats = np.clip(np.einsum("lf,lf->l", z, self._w), -MOST_LOG, MOST_LOG)
        return clipped


def scale_features(history: History, leads: Ints, middle: Floats) -> Floats:
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
    return z


def _mean(values: Floats, otherwise: float = 0.0) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else otherwise


def _newest(values: Floats) -> float:
    finite = values[np.isfinite(values)]
    return float(finite[-1]) if len(finite) else 0.0
