"""A convex blend of point forecasts, its weights following their errors per lead from a declared prior: no parent spoils it for long."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ems.forecast.dressed import PointForecaster
from ems.forecast.mixture import LeadMixture
from ems.forecast.pending import Pending
from ems.forecast.protocol import Floats, History

RATE, LEAST_WEIGHT = 0.005, 0.002
SCALE_MEMORY = 500.0  # errors after which an old one weighs 1/e in the scale
DAY_AGO_SHARE, DAY_AGO_FADE_H = 0.3, 12.0


class Blend:
    """A point forecaster: `prior[lead, member]` are the weights before anything is learnt. A member that is NaN leaves its share to the
    others; NaN where all are."""

    def __init__(self, name: str, members: Sequence[PointForecaster], prior: Floats, rate: float = RATE) -> None:
        self.name, self.members, self.leads = name, tuple(members), members[0].leads
        self._mixture = LeadMixture(prior, rate, LEAST_WEIGHT)
        self._pending = Pending(self.leads, len(self.members))
        self._scale = np.full(len(self.leads), np.nan)
        self._end = -1

    def update(self, history: History) -> Floats:
        """Learns the weights from the cells that are new, then mixes."""
        for cell in range(max(self._end, history.first), history.end) if self._end >= 0 else ():
            self._learn(history.target(cell), cell)
        self._end = max(self._end, history.end)
        points = np.stack([member.update(history) for member in self.members], axis=1)
        self._pending.put(history.end, points)
        return mixed(points, self._mixture.weights)

    @property
    def weights(self) -> Floats:
        """`[lead, member]`, rows summing to one."""
        return self._mixture.weights

    def _learn(self, actual: float, cell: int) -> None:
        points, ok = self._pending.due(cell)
        ok = ok & np.isfinite(actual) & np.isfinite(points).all(axis=1)
        if not ok.any():
            return
        points = np.where(ok[:, None], points, 0.0)
        error = np.abs(actual - mixed(points, self._mixture.weights))
        known = np.isfinite(self._scale)
        before = np.where(known, self._scale, error)
        self._scale = np.where(ok, np.maximum(before + (error - before) / SCALE_MEMORY, 1e-12), self._scale)
        self._mixture.update(points, actual, np.where(ok, self._scale, 1.0), ok)


def day_ago_prior(lead_h: Floats) -> Floats:
    """Weights of a model and of the day before: the model alone at first, DAY_AGO_SHARE for the day before at long leads."""
    share = DAY_AGO_SHARE * (1.0 - np.exp(-lead_h / DAY_AGO_FADE_H))
    return np.stack([1.0 - share, share], axis=1)


def mixed(points: Floats, weights: Floats) -> Floats:
    """The weighted mean per lead of the members that have a value, NaN where none has."""
    finite = np.isfinite(points)
    total = np.where(finite, weights, 0.0)
    sums = total.sum(axis=1)
    mean: Floats = np.where(sums > 0, (total * np.where(finite, points, 0.0)).sum(axis=1) / np.where(sums > 0, sums, 1.0), np.nan)
    return mean
