"""Quantiles around a point forecast of a restless series (prices, carbon): its own errors, each in units of what was expected then.

How large an error to expect is itself regressed (daily, on the logarithm): on how far the forecast stands from the ordinary level, to
either side, on how large the last day's errors were, and on the time of day. The quantiles are those of the newest weeks' errors in these
units, so that a quiet night is narrow and an evening of scarcity wide, and nothing grows exponentially.
"""

from __future__ import annotations

import numpy as np

from ems.forecast.dressed import PointForecaster
from ems.forecast.exogenous import DAY_S, offset_cells
from ems.forecast.pending import Pending
from ems.forecast.protocol import LEVEL_ARRAY, Floats, Forecast, History, Ints, issue

KEPT = 900  # errors per lead,
KEPT_DAYS = 45.0  # spread over so many days
SHORT_DAYS, LONG_DAYS = 1.0, 14.0  # memories of the mean absolute error
SIZE_MEMORY_DAYS = 30.0
SIZE_RIDGE = 100.0
SMALLEST = 0.03  # errors below this share of the typical one count as that
MOST_LOG = 2.5  # the expected error stays within exp(±MOST_LOG) of the typical one
SIZE_FEATURES = 8
# Student's t with two degrees of freedom at even probabilities, in units of its median absolute value: assumed before anything is known.
ASSUMED_P = (np.arange(30) + 0.5) / 30.0
ASSUMED = (2.0 * ASSUMED_P - 1.0) / np.sqrt(2.0 * ASSUMED_P * (1.0 - ASSUMED_P)) / 0.8


class Banded:
    """A Forecaster out of a point forecaster; values stay within `low` and `high` (a market's floor and cap). NaN where the point is."""

    def __init__(self, point: PointForecaster, low: float = -np.inf, high: float = np.inf, is_scaled: bool = True) -> None:
        self.point, self.leads, self.name = point, point.leads, point.name
        self.low, self.high = low, high
        self._is_scaled = is_scaled
        self._pending = Pending(self.leads, 3 + SIZE_FEATURES)
        self._size: ErrorSize | None = None
        self._table = ErrorQuantiles(len(self.leads))
        self._end = -1

    def update(self, history: History) -> Forecast:
        """Learns from the cells that are new, then forecasts."""
        if self._size is None:
            self._size = ErrorSize(self.leads, history.step_s, self._is_scaled)
            self._every = max(1, round(KEPT_DAYS * DAY_S / history.step_s / KEPT))
        for cell in range(max(self._end, history.first), history.end) if self._end >= 0 else ():
            self._learn(self._size, history.target(cell), cell)
        self._end = max(self._end, history.end)
        middle = self.point.update(history)
        z = self._size.features(history, middle)
        size = self._size.expected(z)
        self._pending.put(history.end, np.column_stack([middle, size, self._size.typical, z]))
        values = middle + size * self._table.quantiles()
        return issue(history, self.name, self.leads, np.clip(values, self.low, self.high))

    def _learn(self, size: ErrorSize, actual: float, cell: int) -> None:
        rows, ok = self._pending.due(cell)
        error = actual - rows[:, 0]
        ok = ok & np.isfinite(error)
        if not ok.any():
            return
        size.learn(np.abs(error), rows[:, 2], rows[:, 3:], ok)
        if (cell + 1) % round(DAY_S / size.step_s) == 0:
            size.refit()
        if cell % self._every == 0:
            self._table.add(error / rows[:, 1], ok)


class ErrorSize:
    """The absolute error expected per lead: the typical one of a day and of two weeks, times `exp(w · z)`."""

    def __init__(self, leads: Ints, step_s: float, is_scaled: bool) -> None:
        n = len(leads)
        self.leads, self.step_s = leads, step_s
        self._short, self._long, self._seen = np.full(n, np.nan), np.full(n, np.nan), np.zeros(n)
        self._a, self._b = np.zeros((n, SIZE_FEATURES, SIZE_FEATURES)), np.zeros((n, SIZE_FEATURES))
        self._w = np.zeros((n, SIZE_FEATURES))
        self._is_scaled = is_scaled

    @property
    def typical(self) -> Floats:
        """Mean absolute error of the last weeks per lead, NaN before the first."""
        return self._long

    def features(self, history: History, middle: Floats) -> Floats:
        """What the size of an error may depend on: one, the last day's errors, the forecast's height, the local time of day."""
        day = history.values[-round(7 * DAY_S / self.step_s) :: max(1, round(3600.0 / self.step_s))]
        day = day[np.isfinite(day)]
        low, ordinary, high = np.percentile(day, [25, 50, 75]) if len(day) else (0.0, 0.0, 1.0)
        height = np.arcsinh((middle - ordinary) / max(high - low, 0.02 * abs(ordinary), 1e-9))
        cells = history.end + self.leads - 1
        angle = 2.0 * np.pi * ((cells + offset_cells(history.time_zone, self.step_s, cells)) * self.step_s % DAY_S) / DAY_S
        z = np.empty((len(self.leads), SIZE_FEATURES))
        z[:, 0] = 1.0
        z[:, 1] = np.log((self._short + 1e-12) / (self._long + 1e-12))
        z[:, 2], z[:, 3] = np.maximum(height, 0.0), np.maximum(-height, 0.0)
        z[:, 4], z[:, 5], z[:, 6], z[:, 7] = np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle)
        return np.nan_to_num(z)

    def expected(self, z: Floats) -> Floats:
        """Per lead, NaN before the first error."""
        factor = np.einsum("lf,lf->l", z, self._w) if self._is_scaled else np.zeros(len(z))
        size: Floats = self._long * np.exp(np.clip(factor, -MOST_LOG, MOST_LOG))
        return size

    def learn(self, error: Floats, typical: Floats, z: Floats, ok: np.ndarray) -> None:
        """One absolute error per lead where `ok`, with the typical one and the features it was forecast with."""
        self._seen += ok
        self._short = self._moved(self._short, error, SHORT_DAYS, ok)
        self._long = self._moved(self._long, error, LONG_DAYS, ok)
        known = ok & np.isfinite(typical) & (typical > 0)
        size = np.log(np.maximum(np.where(known, error / np.where(known, typical, 1.0), 1.0), SMALLEST))
        z = np.where(known[:, None], z, 0.0)
        self._a += z[:, :, None] * z[:, None, :]
        self._b += z * size[:, None]

    def refit(self) -> None:
        """Once a day."""
        ridge = SIZE_RIDGE * np.eye(SIZE_FEATURES)
        self._w = np.asarray(np.linalg.solve(self._a + ridge, self._b[:, :, None])[:, :, 0], float)
        keep = np.exp(-1.0 / SIZE_MEMORY_DAYS)
        self._a *= keep
        self._b *= keep

    def _moved(self, mean: Floats, error: Floats, days: float, ok: np.ndarray) -> Floats:
        share = np.maximum(self.step_s / (days * DAY_S), 1.0 / np.maximum(self._seen, 1.0))
        before = np.where(np.isnan(mean), error, mean)
        moved: Floats = np.where(ok, np.maximum(before + share * (error - before), 1e-12), mean)
        return moved


class ErrorQuantiles:
    """The newest KEPT errors per lead in units of their expected size, and their quantiles `[level, lead]`."""

    def __init__(self, leads: int) -> None:
        self._errors = np.full((leads, KEPT), np.nan)
        self._errors[:, : len(ASSUMED)] = ASSUMED
        self._count, self._next = np.full(leads, len(ASSUMED)), np.zeros(leads, dtype=np.intp)  # the assumed are replaced first
        self._is_read = False
        self._table = np.empty((len(LEVEL_ARRAY), leads))

    def add(self, errors: Floats, ok: np.ndarray) -> None:
        """One error per lead where `ok`."""
        rows = np.flatnonzero(ok & np.isfinite(errors))
        self._errors[rows, self._next[rows]] = errors[rows]
        self._next[rows] = (self._next[rows] + 1) % KEPT
        self._count[rows] = np.maximum(self._count[rows], np.where(self._next[rows] == 0, KEPT, self._next[rows]))
        self._is_read = False

    def quantiles(self) -> Floats:
        """Order statistics with the finite-sample correction of conformal prediction; the median is left to the point forecast."""
        if not self._is_read:
            ordered, n = np.sort(self._errors, axis=1), self._count
            place = np.clip(LEVEL_ARRAY[:, None] * (n + 1) - 1.0, 0, n - 1)
            low = place.astype(np.intp)
            high, share, rows = np.minimum(low + 1, n - 1), place - low, np.arange(len(n))
            table = ordered[rows, low] * (1.0 - share) + ordered[rows, high] * share
            upper = LEVEL_ARRAY[:, None] > 0.5
            self._table = np.where(upper, np.maximum(table, 0.0), np.minimum(table, 0.0)) * (LEVEL_ARRAY[:, None] != 0.5)
            self._is_read = True
        return self._table
