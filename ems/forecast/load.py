"""Power of one IT cluster ahead: a learnt mixture of the newest value, the days before and a regression, with a band of its own errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from ems.forecast.band import ErrorBand
from ems.forecast.features import DAYS_WEIGHTS, FEATURES, experts, features, prior_coefficients, prior_weights, value_at
from ems.forecast.grid import CELL_S, CELLS_PER_DAY, KEPT_CELLS, FiveMinuteGrid, Floats
from ems.forecast.mixture import LeadMixture
from ems.forecast.quantiles import LEVELS, Quantiles
from ems.forecast.regression import LeadRegressions

LEADS = np.array([1, 2, 3, 6, 12, 24, 48, 96, 144, 288, 432, 576])  # cells ahead that are learnt; others are interpolated
MAX_HOURS = np.array([1.0, 2.0, 4.0, 8.0, 12.0, 24.0])  # windows whose maximum is learnt
STIFFNESS, MEMORY_CELLS = 400.0, 14.0 * CELLS_PER_DAY
RATE, LEAST_WEIGHT = 0.01, 0.002
ERRORS_KEPT = 7 * CELLS_PER_DAY
BAND_RATE = 0.005  # up to an hour ahead, less beyond: the same error is seen again at every cell of the lead
STALE_CELLS = CELLS_PER_DAY  # without any value for a day there is no forecast, only nameplate


@dataclass(frozen=True)
class Issue:
    """What was forecast from one origin, kept to learn from: a row per learnt lead; maxima per window in kW."""

    features: Floats
    experts: Floats
    mixed: Floats
    level: float
    maxima: Floats


class LoadForecaster:
    """Forecasts the mean power in kW of a cluster of `rating_kw` and `idle_kw`. Deterministic; ≤ 5 ms for an observation and a forecast.

    With no history: nameplate. In the first day: the last hours. Then the days before, and the deviation from them, fading.
    """

    def __init__(self, rating_kw: float, idle_kw: float, unknown_kw: float | None = None) -> None:
        """`unknown_kw`: what is expected while nothing is known, the rating unless given; 0 for a source of power."""
        self.rating_kw, self.idle_kw = rating_kw, idle_kw
        self._unknown_kw = rating_kw if unknown_kw is None else unknown_kw
        span = max(1.0, rating_kw - idle_kw)
        self._grid = FiveMinuteGrid()
        self._model = LeadRegressions(prior_coefficients(LEADS), 0.1 * span, STIFFNESS, MEMORY_CELLS)
        self._mixture = LeadMixture(prior_weights(LEADS), RATE, LEAST_WEIGHT)
        assumed_kw = 0.05 * span * (0.5 + np.sqrt(LEADS / 12.0)).clip(max=4.0)
        self._band = ErrorBand(assumed_kw, ERRORS_KEPT, (0.1, 0.9, 0.99), BAND_RATE * np.minimum(1.0, 12.0 / LEADS))
        assumed_kw = 0.1 * span * np.sqrt(MAX_HOURS).clip(max=3.0)
        self._max_band = ErrorBand(assumed_kw, ERRORS_KEPT, (0.9, 0.99), np.zeros(len(MAX_HOURS)))
        self._issued: dict[int, Issue] = {}  # by origin cell
        self._scale_kw = 0.05 * span * np.ones(len(LEADS))  # running mean of the absolute error

    def observe(self, start: datetime, duration_s: float, mean_kw: float | None) -> None:
        """Takes the measured mean over `[start, start + duration_s)`; None where nothing was measured (skipped, never zero)."""
        closed = self._grid.observe(start.timestamp(), duration_s, mean_kw)
        if closed > KEPT_CELLS:
            self._issued.clear()
        for cell in range(self._grid.end - min(closed, self._grid.n), self._grid.end):
            self._learn(cell)
            self._issue(cell)

    def forecast(self, now: datetime, starts: Sequence[datetime], duration_h: Sequence[float]) -> Quantiles:
        """Quantiles of the mean power per step in kW, from what was observed until `now`."""
        begin = np.array([s.timestamp() for s in starts]) / CELL_S
        middle = begin + np.asarray(duration_h) * 1800.0 / CELL_S - 0.5  # in cells; the middle of a step of one cell is that cell
        return Quantiles(tuple(starts), tuple(float(h) for h in duration_h), self._quantiles(now.timestamp(), middle))

    def max_quantile(self, now: datetime, hours: float, level: float = 0.99) -> float:
        """The power in kW that the highest 5-minute mean of the next `hours` does not exceed with probability `level` (0.9 or 0.99).

        Nameplate without a forecast and beyond a day.
        """
        origin = self._origin(now.timestamp())
        if origin is None:
            return self.rating_kw
        reach_h = hours + max(0.0, now.timestamp() / CELL_S - origin - 1.0) * CELL_S / 3600.0  # it begins now, not at the origin
        if reach_h > MAX_HOURS[-1]:
            return self.rating_kw
        highest = np.maximum.accumulate(self._expected_maxima(origin) + self._max_band.quantile(level))
        return min(self.rating_kw, max(float(np.interp(reach_h, MAX_HOURS, highest)), value_at(self._grid, origin)))

    def _quantiles(self, now_s: float, cells: Floats) -> dict[float, Floats]:
        origin = self._origin(now_s)
        if origin is None:
            return self._nameplate(now_s, len(cells))
        leads = np.maximum(1.0, cells - origin)
        middle = self._predict(origin, leads)
        values = {level: self._bounded(middle + at_leads(self._band.quantile(level), leads)) for level in LEVELS if level != 0.5}
        return ordered({**values, 0.5: self._bounded(middle)})

    def _nameplate(self, now_s: float, n: int) -> dict[float, Floats]:
        """What was just seen of the open cell, else nameplate; the widest band either way."""
        is_fresh = now_s / CELL_S - self._grid.end <= 2.0
        seen = self._grid.mean_of_open_cell(0.0) if is_fresh else math.nan
        middle = self._unknown_kw if math.isnan(seen) else min(seen, self.rating_kw)
        return {0.1: np.full(n, min(self.idle_kw, middle)), 0.5: np.full(n, middle)} | {q: np.full(n, self.rating_kw) for q in (0.9, 0.99)}

    def _bounded(self, kw: Floats) -> Floats:
        return np.clip(kw, 0.0, self.rating_kw)

    def _origin(self, now_s: float) -> int | None:
        """The newest measured cell, None when there is none or it is too old."""
        values = self._grid.values[-STALE_CELLS:]
        measured = np.flatnonzero(np.isfinite(values))
        if not len(measured):
            return None
        origin = self._grid.end - len(values) + int(measured[-1])
        return origin if 0.0 <= now_s / CELL_S - origin <= STALE_CELLS else None  # a cell of the future is of a clock that was wrong

    def _learn(self, cell: int) -> None:
        """Compares the newest cell with what was forecast for it, lead by lead."""
        actual = value_at(self._grid, cell)
        past = [self._issued.get(cell - int(lead)) for lead in LEADS]
        ok = np.array([p is not None for p in past])
        if math.isfinite(actual) and ok.any():
            self._learn_leads(actual, past, ok)
        self._learn_maxima(cell)

    def _learn_leads(self, actual: float, past: list[Issue | None], ok: np.ndarray) -> None:
        x = np.array([p.features[i] if p else np.zeros(FEATURES) for i, p in enumerate(past)])
        by_expert = np.array([p.experts[i] if p else np.zeros(len(DAYS_WEIGHTS)) for i, p in enumerate(past)])
        error = np.array([actual - p.mixed[i] if p else 0.0 for i, p in enumerate(past)])
        level = np.array([p.level if p else 0.0 for p in past])
        self._band.add(error, ok)
        self._scale_kw = np.where(ok, 0.995 * self._scale_kw + 0.005 * abs(error), self._scale_kw).clip(min=1e-3 * self.rating_kw)
        self._mixture.update(by_expert, actual, self._scale_kw, ok)
        own_error = actual - level - np.einsum("lf,lf->l", x, self._model.theta)
        self._model.update(x, np.clip(own_error, -4.0 * self._scale_kw, 4.0 * self._scale_kw), ok)

    def _learn_maxima(self, cell: int) -> None:
        past = [self._issued.get(cell - int(h * 12)) for h in MAX_HOURS]
        highest = [self._highest(int(h * 12)) for h in MAX_HOURS]
        error = np.array([highest[i] - p.maxima[i] if p else math.nan for i, p in enumerate(past)])
        if np.isfinite(error).any():
            self._max_band.add(error, np.isfinite(error))

    def _highest(self, cells: int) -> float:
        newest = self._grid.values[-cells:]
        return float(np.nanmax(newest)) if np.isfinite(newest).any() else math.nan

    def _issue(self, cell: int) -> None:
        """Keeps what is forecast from this cell for every learnt lead, to learn from it later."""
        self._issued.pop(cell - int(LEADS[-1]) - 1, None)
        if math.isfinite(value_at(self._grid, cell)):
            level, x = features(self._grid, cell, LEADS.astype(float))
            by_expert = experts(value_at(self._grid, cell), level, x, self._model.theta, LEADS.astype(float))
            mixed = np.einsum("le,le->l", by_expert, self._mixture.weights)
            self._issued[cell] = Issue(x, by_expert, mixed, level, self._expected_maxima(cell))

    def _expected_maxima(self, origin: int) -> Floats:
        """The highest expected value within each window of MAX_HOURS, from every third cell."""
        maxima = np.maximum.accumulate(self._predict(origin, np.arange(1.0, 289.0, 3.0)))
        return maxima[(MAX_HOURS * 4).astype(int) - 1]

    def _predict(self, origin: int, leads: Floats) -> Floats:
        level, x = features(self._grid, origin, leads)
        by_expert = experts(value_at(self._grid, origin), level, x, at_leads(self._model.theta, leads), leads)
        mixed: Floats = np.einsum("le,le->l", by_expert, at_leads(self._mixture.weights, leads))
        return mixed


def at_leads(values: Floats, leads: Floats) -> Floats:
    """Values of the learnt leads (one or a row each) interpolated in the logarithm of the lead."""
    place = np.interp(np.log(leads), np.log(LEADS), np.arange(len(LEADS)))
    low = np.minimum(place.astype(int), len(LEADS) - 2)
    share = place - low if values.ndim == 1 else (place - low)[:, None]
    between: Floats = values[low] * (1.0 - share) + values[low + 1] * share
    return between


def ordered(values: dict[float, Floats]) -> dict[float, Floats]:
    """The same quantiles with every level at or above the one below it."""
    middle, high = values[0.5], np.maximum(values[0.9], values[0.5])
    return {0.1: np.minimum(values[0.1], middle), 0.5: middle, 0.9: high, 0.99: np.maximum(values[0.99], high)}
