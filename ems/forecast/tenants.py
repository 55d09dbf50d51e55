"""A total forecast tenant by tenant where the feed tells them apart: every one fades towards its own usual level at its own pace.

A tenant that bursts for an hour is expected to end, one that stands high for days is expected to stay: the total alone does not tell
them apart. Per tenant and lead a small regression in units of the tenant's last day (recursive least squares from a prior that is the
newest value fading into that day's mean), all tenants at once; the forecast of the total is their sum, plus what belongs to no tenant, as
it stands.
"""

from __future__ import annotations

import numpy as np

from ems.forecast.catalogue import mixed_points
from ems.forecast.conformal import RESTLESS, Conformal
from ems.forecast.dressed import Dressed
from ems.forecast.ensemble import Ensemble, PointMixture
from ems.forecast.fallback import Guarded
from ems.forecast.naive import DAY_S, Persistence, newest
from ems.forecast.pending import Progress
from ems.forecast.protocol import Floats, Forecast, History, Ints
from ems.forecast.regression import LeadRegressions

MOST_APART = 256  # tenants with a regression of their own, the largest of the first day; all others together are one more
# Chosen on the first two thirds of ServeGen m-large: FADE_H of the prior, and how many typical squared features the prior weighs.
FADE_H, STIFFNESS, MEMORY_DAYS = 24.0, 3000.0, 7.0
FEATURES, FEATURE_SIZE = 6, 0.3
LEAST_SHARE = 0.002  # of the total: the unit of a tenant that was hardly there
MOST_ERROR = 3.0  # units of an error that count
MOST_LEAD_H = 12.0  # beyond it the days of the total say more than the tenants of the hour


class TenantSum:
    """A PointForecaster of the total. `tell` the tenants' values before updates; NaN until a day is known and beyond MOST_LEAD_H."""

    name = "tenants"

    def __init__(self, leads: Ints) -> None:
        self.leads = leads
        self._first, self._values = 0, np.empty((0, 0))
        self._apart: Ints | None = None
        self._models: list[LeadRegressions] = []
        self._progress = Progress(int(leads[-1]))

    def tell(self, first: int, values: Floats) -> None:
        """Values `[cell, tenant]` from the cell `first` on, NaN where unknown; nothing after the history's end is looked at. A column stays
        the same tenant from one call to the next; eight days before the history's end are enough."""
        self._first, self._values = first, values

    def update(self, history: History) -> Floats:
        """One value per lead."""
        day, hour = (max(1, round(s / history.step_s)) for s in (DAY_S, 3600.0))
        parts = self._values[: max(0, history.end - self._first)]
        if len(parts) < day + 1:
            return np.full(len(self.leads), np.nan)
        parts = self._columns(parts, day)
        if not self._models:
            near = self.leads[self.leads <= MOST_LEAD_H * hour]
            self._models = [self._model(int(lead), parts.shape[1], hour, day) for lead in near]
        for cell in self._progress.new_cells(history):
            self._learn(parts, cell - self._first, day, hour)
        totals = np.full(len(self.leads), np.nan)
        totals[: len(self._models)] = [self._total(m, parts, int(k), day, hour) for m, k in zip(self._models, self.leads, strict=False)]
        return totals + newest(history) - float(parts[-1].sum())

    def _columns(self, parts: Floats, day: int) -> Floats:
        """A column for each of the largest tenants of the first day, the others together in the last."""
        if self._apart is None:
            sizes = np.nan_to_num(parts[: day + 1]).sum(axis=0)
            self._apart = np.sort(np.argsort(-sizes, kind="stable")[:MOST_APART])
        parts = np.nan_to_num(parts)
        others = np.ones(parts.shape[1], dtype=bool)
        others[self._apart] = False
        return np.column_stack([parts[:, self._apart], parts[:, others].sum(axis=1)])

    def _model(self, lead: int, tenants: int, hour: int, day: int) -> LeadRegressions:
        fade = float(np.exp(-lead / hour / FADE_H))
        prior = np.tile([0.7 * fade, 0.3 * fade, 0.0, 1.0 - fade, 0.0, 0.0], (tenants, 1))
        return LeadRegressions(prior, FEATURE_SIZE, STIFFNESS, MEMORY_DAYS * day)

    def _learn(self, parts: Floats, at: int, day: int, hour: int) -> None:
        """The cell at row `at` came true: every lead learns from what it saw then."""
        for model, lead in zip(self._models, self.leads, strict=False):
            end = at + 1 - int(lead)
            if end > day:
                x, unit = features(parts, end, int(lead), day, hour)
                error = parts[at] / unit - np.einsum("tf,tf->t", x, model.theta)
                model.update(x, np.clip(error, -MOST_ERROR, MOST_ERROR), np.ones(len(unit), dtype=bool))

    def _total(self, model: LeadRegressions, parts: Floats, lead: int, day: int, hour: int) -> float:
        x, unit = features(parts, len(parts), lead, day, hour)
        return float((np.maximum(np.einsum("tf,tf->t", x, model.theta), 0.0) * unit).sum())


def features(parts: Floats, end: int, lead: int, day: int, hour: int) -> tuple[Floats, Floats]:
    """Per tenant, seen from the row `end`: newest, last hour, six hours and day, a day before the target and before now; and their unit."""
    level = parts[end - day : end].mean(axis=0)
    before = end - 1 + lead - day * -(-lead // day)
    rows = [
        parts[end - 1],
        parts[max(0, end - hour) : end].mean(axis=0),
        parts[max(0, end - 6 * hour) : end].mean(axis=0),
        level,
        parts[before],
        parts[end - 1 - day],
    ]
    unit = np.maximum(level, LEAST_SHARE * float(level.sum()) + 1e-9)
    return np.stack(rows, axis=1) / unit[:, None], unit


class TenantForecaster:
    """The usual ensemble with the tenants' sum among its points: a Forecaster of the total."""

    name = "ensemble by tenant"

    def __init__(self, leads: Ints, low: float = 0.0, high: float = np.inf) -> None:
        self.leads, self.tenants = leads, TenantSum(leads)
        mixture = PointMixture([self.tenants, *mixed_points(leads)])  # the first is favoured
        members = [
            Dressed(self.tenants, low, high),
            Dressed(mixture, low, high),
            Dressed(mixture, low, high, is_scaled=False),
            Dressed(Persistence(leads), low, high, is_scaled=False),
        ]
        self._guarded = Guarded(Conformal(Ensemble(members), RESTLESS, low, high), low, high)

    def update(self, history: History) -> Forecast:
        """Quantiles of the total."""
        return self._guarded.update(history)
