"""Mixtures whose weights follow recent pinball loss, per lead: of point forecasts, and of quantile forecasts per level."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ems.forecast.dressed import PointForecaster
from ems.forecast.mixture import LeadMixture
from ems.forecast.naive import newest
from ems.forecast.pending import Pending, Progress
from ems.forecast.protocol import LEVEL_ARRAY, LEVELS, MEDIAN, Floats, Forecast, Forecaster, History, Ints, issue

# Step of the points' weights towards the better ones per cell. Errors of a lead of n cells overlap, one error is seen n times: the step
# falls as 1 / lead, to LEAST_RATE. Chosen on the first two thirds of eight series and four clients of a ninth.
RATE, LEAST_RATE = 0.1, 0.02
LEAST_WEIGHT = 0.002  # no weight falls below it
QUANTILE_RATE = 0.02
FAVOUR_FADE_H = 6.0  # prior: the first member (the newest value) at short leads, all alike at long ones


class PointMixture:
    """Convex weights per lead by exponentiated gradient on the pinball loss of the median. A member without a value is left out."""

    name = "mixture"

    def __init__(self, members: Sequence[PointForecaster]) -> None:
        self.members, self.leads = tuple(members), members[0].leads
        self._rate = np.maximum(LEAST_RATE, RATE / self.leads)[:, None]
        self._mixture: LeadMixture | None = None
        self._pending = Pending(self.leads, len(self.members))
        self._progress = Progress(int(self.leads[-1]))
        self._scale = np.full(len(self.leads), np.nan)
        self._issued_at, self._issued = -1, np.full(len(self.leads), np.nan)

    def update(self, history: History) -> Floats:
        """One value per lead, NaN where no member has one. Asked again for the same history it repeats itself."""
        if history.end != self._issued_at:
            self._issued_at, self._issued = history.end, self._update(history)
        return self._issued

    def _update(self, history: History) -> Floats:
        if self._mixture is None:
            self._mixture = LeadMixture(prior_weights(self.leads, history.step_s, len(self.members)), self._rate, LEAST_WEIGHT)
        for cell in self._progress.new_cells(history):
            self._learn(self._mixture, history.target(cell), cell)
        points = np.stack([member.update(history) for member in self.members], axis=1)
        self._pending.put(history.end, points)
        return _mixed(points, self._mixture.weights, newest(history))

    @property
    def weights(self) -> Floats:
        """`[lead, member]`, rows summing to one; empty before the first update."""
        return np.empty((0, 0)) if self._mixture is None else self._mixture.weights

    def _learn(self, mixture: LeadMixture, actual: float, cell: int) -> None:
        points, ok = self._pending.due(cell)
        ok = ok & np.isfinite(actual) & np.isfinite(points).any(axis=1)
        if not ok.any():
            return
        middle = _mixed(points, mixture.weights, 0.0)
        points = np.where(np.isfinite(points), points, middle[:, None])
        error = np.abs(actual - middle)
        first = np.isnan(self._scale)
        moved = np.where(first, error, 0.995 * np.where(first, 0.0, self._scale) + 0.005 * error)
        self._scale = np.where(ok, np.maximum(moved, 1e-6 * abs(actual) + 1e-12), self._scale)
        mixture.update(points, actual, np.where(np.isnan(self._scale), 1.0, self._scale), ok)


def prior_weights(leads: Ints, step_s: float, members: int) -> Floats:
    """The first member's favour fades with the lead; the others share alike."""
    favour = 0.95 * np.exp(-leads * step_s / 3600.0 / FAVOUR_FADE_H)
    weights = np.tile(((1.0 - favour) / max(1, members - 1))[:, None], (1, members))
    weights[:, 0] = favour + 0.01
    return weights


def _mixed(points: Floats, weights: Floats, otherwise: float) -> Floats:
    finite = np.isfinite(points)
    total = np.where(finite, weights, 0.0)
    sums = total.sum(axis=1)
    mixed: Floats = np.where(sums > 0, (total * np.where(finite, points, 0.0)).sum(axis=1) / np.where(sums > 0, sums, 1.0), otherwise)
    return mixed


class Ensemble:
    """Quantile forecasts mixed per level and lead (weights of the quantiles, not of the probabilities)."""

    name = "ensemble"

    def __init__(self, members: Sequence[Forecaster], rate: float = QUANTILE_RATE) -> None:
        self.members, self.leads = tuple(members), members[0].leads
        self._rate = (rate / np.sqrt(LEVEL_ARRAY * (1.0 - LEVEL_ARRAY)))[:, None, None]
        n = len(self.members)
        self.weights = np.full((len(LEVELS), len(self.leads), n), 0.4 / max(1, n - 1))
        self.weights[:, :, 0] = 0.6 if n > 1 else 1.0
        self._pending = Pending(self.leads, len(LEVELS) * n)
        self._progress = Progress(int(self.leads[-1]))
        self._scale = np.full(len(self.leads), np.nan)

    def update(self, history: History) -> Forecast:
        """Learns the weights from the new cells, then mixes."""
        for cell in self._progress.new_cells(history):
            self._learn(history.target(cell), cell)
        quantiles = np.stack([member.update(history).values for member in self.members], axis=2)
        self._pending.put(history.end, quantiles.transpose(1, 0, 2).reshape(len(self.leads), -1))
        return issue(history, self.name, self.leads, self._mixed(quantiles))

    def _mixed(self, quantiles: Floats) -> Floats:
        finite = np.isfinite(quantiles)
        weights = np.where(finite, self.weights, 0.0)
        mixed: Floats = (weights * np.where(finite, quantiles, 0.0)).sum(axis=2) / np.maximum(weights.sum(axis=2), 1e-12)
        return np.where(finite.any(axis=2), mixed, np.nan)

    def _learn(self, actual: float, cell: int) -> None:
        rows, ok = self._pending.due(cell)
        quantiles = rows.reshape(len(self.leads), len(LEVELS), -1).transpose(1, 0, 2)
        mixed = self._mixed(quantiles)
        ok = ok & np.isfinite(actual) & np.isfinite(mixed).all(axis=0)
        if not ok.any():
            return
        error = np.abs(actual - mixed[MEDIAN])
        first = np.isnan(self._scale)
        moved = np.where(first, error, 0.99 * np.where(first, 0.0, self._scale) + 0.01 * error)
        self._scale = np.where(ok, np.maximum(moved, 1e-6 * abs(actual) + 1e-12), self._scale)
        apart = np.where(np.isfinite(quantiles), quantiles - mixed[:, :, None], 0.0) / np.where(ok, self._scale, 1.0)[None, :, None]
        pull = (LEVEL_ARRAY[:, None] - (actual <= mixed))[:, :, None] * np.clip(apart, -10.0, 10.0)
        weights = self.weights * np.exp(self._rate * np.where(ok[None, :, None], pull, 0.0))
        weights = np.maximum(weights / weights.sum(axis=2, keepdims=True), LEAST_WEIGHT)
        self.weights = weights / weights.sum(axis=2, keepdims=True)
