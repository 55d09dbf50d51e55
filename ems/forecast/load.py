"""Power of one IT cluster ahead: an online regression on the last hour and the days before, with a band of its own past errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from ems.forecast.band import ErrorBand
from ems.forecast.grid import CELL_S, CELLS_PER_DAY, FiveMinuteGrid, Floats
from ems.forecast.mixture import LeadMixture
from ems.forecast.quantiles import LEVELS, Quantiles
from ems.forecast.regression import LeadRegressions

LEADS = np.array([1, 2, 3, 6, 12, 24, 48, 96, 144, 288, 432, 576])  # cells ahead that are learnt; others are interpolated
MAX_HOURS = np.array([1.0, 2.0, 4.0, 8.0, 12.0, 24.0])  # windows whose maximum is learnt
FEATURES = 7  # now, last hour, day ago, days ago, day ago at the origin, days ago at the origin, one
PROFILE_DAYS = (1, 2, 3, 7)
FADE_H = 3.0  # prior: how fast the present deviation from the days before fades
FADES_H = (1.5, 6.0)
STIFFNESS, MEMORY_CELLS = 400.0, 14.0 * CELLS_PER_DAY
ERRORS_KEPT = 7 * CELLS_PER_DAY
BAND_RATE = 0.005  # up to an hour ahead, less beyond: the same error is seen again at every cell of the lead
# Experts of the mixture: newest value, last hour, day ago, days ago, days ago with fading deviation (fast, slow), regression.
DAYS_WEIGHTS = np.array([0.0, 0.05, 0.1, 0.1, 0.25, 0.25, 0.25])  # prior beyond the first hours
NEWEST_WEIGHT, NEWEST_FADE_H = 0.95, 6.0  # prior of the newest value at short leads
RATE, LEAST_WEIGHT = 0.01, 0.002
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

    With no history: nameplate. In the first day: the last hour. Then the days before, and the deviation from them, fading.
    """

    def __init__(self, rating_kw: float, idle_kw: float) -> None:
        self.rating_kw, self.idle_kw = rating_kw, idle_kw
        span = max(1.0, rating_kw - idle_kw)
        self._grid = FiveMinuteGrid()
        self._model = LeadRegressions(prior_coefficients(LEADS), 0.1 * span, STIFFNESS, MEMORY_CELLS)
        self._band = ErrorBand(
            0.05 * span * (0.5 + np.sqrt(LEADS / 12.0)).clip(max=4.0),
            ERRORS_KEPT,
            (0.1, 0.9, 0.99),
            BAND_RATE * np.minimum(1.0, 12.0 / LEADS),
        )
        self._max_band = ErrorBand(0.1 * span * np.sqrt(MAX_HOURS).clip(max=3.0), ERRORS_KEPT, (0.9, 0.99), np.zeros(len(MAX_HOURS)))
        self._mixture = LeadMixture(prior_weights(LEADS), RATE, LEAST_WEIGHT)
        self._issued: dict[int, Issue] = {}  # by origin cell
        self._scale_kw = 0.05 * span * np.ones(len(LEADS))

    def observe(self, start: datetime, duration_s: float, mean_kw: float | None) -> None:
        """Takes the measured mean over `[start, start + duration_s)`; None where nothing was measured (skipped, never zero)."""
        closed = self._grid.observe(start.timestamp(), duration_s, mean_kw)
        for cell in range(self._grid.end - min(closed, self._grid.n), self._grid.end):
            self._learn(cell)
            self._issue(cell)

    def forecast(self, now: datetime, starts: Sequence[datetime], duration_h: Sequence[float]) -> Quantiles:
        """Quantiles of the mean power per step in kW, from what was observed until `now`."""
        begin = np.array([s.timestamp() for s in starts]) / CELL_S
        middle = begin + np.asarray(duration_h) * 1800.0 / CELL_S - 0.5  # in cells; the middle of a step of one cell is that cell
        values = self._quantiles(now.timestamp(), middle)
        return Quantiles(tuple(starts), tuple(float(h) for h in duration_h), values)

    def max_quantile(self, now: datetime, hours: float, level: float = 0.99) -> float:
        """The power in kW that the highest 5-minute mean of the next `hours` does not exceed with probability `level`."""
        origin = self._origin(now.timestamp())
        if origin is None:
            return self.rating_kw
        expected = self._expected_maxima(origin)
        highest = np.maximum.accumulate(expected + self._max_band.quantile(level))
        kw = float(np.interp(hours, MAX_HOURS, highest)) if hours <= MAX_HOURS[-1] else self.rating_kw
        return min(self.rating_kw, max(kw, self._value(origin)))

    def _quantiles(self, now_s: float, cells: Floats) -> dict[float, Floats]:
        origin = self._origin(now_s)
        if origin is None:
            return self._nameplate(now_s, len(cells))
        leads = np.maximum(1.0, cells - origin)
        middle = self._predict(origin, leads)
        values = {level: self._bounded(middle + _at_leads(self._band.quantile(level), leads)) for level in LEVELS if level != 0.5}
        values[0.5] = self._bounded(middle)
        return _ordered(values)

    def _nameplate(self, now_s: float, n: int) -> dict[float, Floats]:
        """Before the first cell is closed: what was seen of it, else nameplate, with the widest band."""
        seen = self._grid.mean_of_open_cell(0.0) if self._grid.n == 0 else math.nan
        middle = self.rating_kw if math.isnan(seen) else seen
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
        return origin if now_s / CELL_S - origin <= STALE_CELLS else None

    def _value(self, cell: int) -> float:
        return float(self._grid.values[cell - self._grid.first])

    def _learn(self, cell: int) -> None:
        """Compares the newest cell with what was forecast for it, lead by lead."""
        actual = self._value(cell)
        past = [self._issued.get(cell - int(lead)) for lead in LEADS]
        ok = np.array([p is not None for p in past])
        if math.isfinite(actual) and ok.any():
            x = np.array([p.features[i] if p else np.zeros(FEATURES) for i, p in enumerate(past)])
            experts = np.array([p.experts[i] if p else np.zeros(len(DAYS_WEIGHTS)) for i, p in enumerate(past)])
            error = np.array([actual - p.mixed[i] if p else 0.0 for i, p in enumerate(past)])
            level = np.array([p.level if p else 0.0 for p in past])
            self._band.add(error, ok)
            self._scale_kw = np.where(ok, 0.995 * self._scale_kw + 0.005 * abs(error), self._scale_kw)
            self._mixture.update(experts, actual, self._scale_kw, ok)
            own_error = actual - level - np.einsum("lf,lf->l", x, self._model.theta)
            self._model.update(x, np.clip(own_error, -4.0 * self._scale_kw, 4.0 * self._scale_kw), ok)
        self._learn_maxima(cell)

    def _learn_maxima(self, cell: int) -> None:
        past = [self._issued.get(cell - int(h * 12)) for h in MAX_HOURS]
        ok = np.array([p is not None for p in past])
        if ok.any():
            highest = [self._highest(int(h * 12)) for h in MAX_HOURS]
            error = np.array([highest[i] - p.maxima[i] if p else 0.0 for i, p in enumerate(past)])
            self._max_band.add(error, ok & np.isfinite(error))

    def _highest(self, cells: int) -> float:
        window = self._grid.values[-cells:]
        return float(np.nanmax(window)) if np.isfinite(window).any() else math.nan

    def _issue(self, cell: int) -> None:
        """Keeps what is forecast from this cell for every learnt lead, to learn from it later."""
        self._issued.pop(cell - int(LEADS[-1]) - 1, None)
        if math.isfinite(self._value(cell)):
            level = self._level(cell)
            x = self._features(cell, LEADS.astype(float), level)
            experts = self._experts(cell, LEADS.astype(float), level, x)
            mixed = np.einsum("le,le->l", experts, self._mixture.weights)
            self._issued[cell] = Issue(x, experts, mixed, level, self._expected_maxima(cell))

    def _expected_maxima(self, origin: int) -> Floats:
        ahead = self._predict(origin, np.arange(1.0, 289.0, 3.0))
        maxima = np.maximum.accumulate(ahead)
        return maxima[np.minimum(len(maxima) - 1, (MAX_HOURS * 4).astype(int) - 1)]

    def _predict(self, origin: int, leads: Floats) -> Floats:
        level = self._level(origin)
        experts = self._experts(origin, leads, level, self._features(origin, leads, level))
        return np.einsum("le,le->l", experts, _at_leads(self._mixture.weights, leads))

    def _experts(self, origin: int, leads: Floats, level: float, x: Floats) -> Floats:
        """One forecast in kW per lead and expert, in the order of DAYS_WEIGHTS."""
        regression = np.einsum("lf,lf->l", x, _at_leads(self._model.theta, leads))
        days = 0.5 * (x[:, 2] + x[:, 3])
        above = 0.7 * x[:, 0] + 0.3 * x[:, 1] - 0.5 * (x[:, 4] + x[:, 5])
        faded = [days + above * np.exp(-leads / 12.0 / tau_h) for tau_h in FADES_H]
        newest = np.full(len(leads), self._value(origin) - level)
        return level + np.stack([newest, x[:, 1], x[:, 2], x[:, 3], *faded, regression], axis=1)

    def _level(self, origin: int) -> float:
        """Mean of the last day in kW."""
        return _mean(self._window(origin, CELLS_PER_DAY), self._value(origin))

    def _features(self, origin: int, leads: Floats, level: float) -> Floats:
        x = np.empty((len(leads), FEATURES))
        x[:, 0] = _mean(self._window(origin, 2), self._value(origin)) - level
        x[:, 1] = _mean(self._window(origin, 12), self._value(origin)) - level
        targets = np.append(np.rint(origin + leads).astype(int), origin - 1)
        days = self._days_before(targets, origin) - level
        profile = np.nan_to_num(_mean_rows(days), nan=0.0)
        yesterday = np.where(np.isfinite(days[0]), days[0], profile)
        x[:, 2], x[:, 3] = yesterday[:-1], profile[:-1]
        x[:, 4], x[:, 5] = yesterday[-1], profile[-1]
        x[:, 6] = 0.1 * level
        return x

    def _days_before(self, targets: NDArray[np.intp], origin: int) -> Floats:
        """Mean of three cells around the same time of day, per profile day and target; NaN where unknown."""
        around = [self._known(targets - CELLS_PER_DAY * (_days_back(targets, origin) + d - 1), origin) for d in PROFILE_DAYS]
        return np.array(around)

    def _known(self, cells: NDArray[np.intp], origin: int) -> Floats:
        values = self._grid.values
        stacked = np.array([cells - 1, cells, cells + 1]) - self._grid.first
        ok = (stacked >= 0) & (stacked <= origin - self._grid.first)
        return _mean_rows(np.where(ok, values[np.where(ok, stacked, 0)], np.nan))

    def _window(self, origin: int, cells: int) -> Floats:
        end = origin - self._grid.first + 1
        return self._grid.values[max(0, end - cells) : end]


def prior_coefficients(leads: NDArray[np.intp]) -> Floats:
    """Where learning starts: days before plus the present deviation from them, fading; features as in `_features`."""
    fade = np.exp(-leads / 12.0 / FADE_H)
    one = np.ones(len(leads))
    return np.stack([0.6 * fade, 0.4 * fade, 0.4 * one, 0.5 * one, -0.4 * fade, -0.5 * fade, 0.0 * one], axis=1)


def prior_weights(leads: NDArray[np.intp]) -> Floats:
    """Weights of the experts per lead before anything was learnt: the newest value first, then the days before."""
    newest = NEWEST_WEIGHT * np.exp(-leads / 12.0 / NEWEST_FADE_H)
    weights: Floats = (1.0 - newest)[:, None] * DAYS_WEIGHTS
    weights[:, 0] = newest + 0.01
    return weights


def _days_back(targets: NDArray[np.intp], origin: int) -> NDArray[np.intp]:
    """Whole days from each target back to the newest day that is known: 1 up to a day ahead, then 2."""
    return np.maximum(1, -((origin - targets) // CELLS_PER_DAY))


def _at_leads(values: Floats, leads: Floats) -> Floats:
    """Per-lead values (one or a row each) interpolated in the logarithm of the lead."""
    place = np.interp(np.log(leads), np.log(LEADS), np.arange(len(LEADS)))
    low = np.minimum(place.astype(int), len(LEADS) - 2)
    share = place - low if values.ndim == 1 else (place - low)[:, None]
    between: Floats = values[low] * (1.0 - share) + values[low + 1] * share
    return between


def _mean(values: Floats, otherwise: float) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else otherwise


def _mean_rows(values: Floats) -> Floats:
    finite = np.isfinite(values)
    count = finite.sum(axis=0)
    total = np.where(finite, values, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _ordered(values: dict[float, Floats]) -> dict[float, Floats]:
    """The same quantiles with every level at or above the one below it."""
    ordered: dict[float, Floats] = {}
    ordered[0.1] = np.minimum(values[0.1], values[0.5])
    ordered[0.5] = values[0.5]
    ordered[0.9] = np.maximum(values[0.9], values[0.5])
    ordered[0.99] = np.maximum(values[0.99], ordered[0.9])
    return ordered
