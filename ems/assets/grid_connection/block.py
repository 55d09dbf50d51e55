"""How the point of connection enters the plan: net import within the envelope, which is soft at a price nothing else reaches."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
BREACH_PRICE_PER_KWH = 20.0  # on the area above the limit: above every price of cutting work (a few per kWh), far below a scaling problem
BREACH_PRICE_PER_KW = 5.0  # on its height
RAMP_PRICE_PER_KW = 5.0  # on a change faster than the ramp limit, in each step: as the height of a breach
ANY_CHANGE_KW = 1e6  # no bound


class GridConnectionBlock:
    """Net import (import +) in kW, one value per step. `ramp_kw_per_min`: how fast it may move at the meter, None: at any pace."""

    def __init__(self, duration_h: cp.Parameter, ramp_kw_per_min: float | None = None) -> None:
        n = duration_h.size
        self.power_kw = cp.Variable(n)
        self.over_kw = cp.Variable(n, nonneg=True)
        self.highest_over_kw = cp.Variable(nonneg=True)
        self.import_limit_kw = cp.Parameter(n, nonneg=True)
        self.export_limit_kw = cp.Parameter(n, nonneg=True)
        self.cost = BREACH_PRICE_PER_KWH * (duration_h @ self.over_kw) + BREACH_PRICE_PER_KW * self.highest_over_kw
        self.constraints = {
            "stays within the import limit": self.power_kw <= self.import_limit_kw + self.over_kw,
            "breaches at most by the highest breach": self.over_kw <= self.highest_over_kw,
            "stays within the export limit": self.power_kw >= -self.export_limit_kw,
        }
        self.ramp = Ramp(ramp_kw_per_min, self.power_kw) if ramp_kw_per_min is not None else None
        if self.ramp is not None:
            self.cost = self.cost + self.ramp.cost
            self.constraints |= self.ramp.constraints

    def update(self, import_limit_kw: Array, export_limit_kw: float) -> None:
        """Sets the import envelope per step and the export limit, in kW."""
        self.import_limit_kw.value = np.maximum(import_limit_kw, 0.0)
        self.export_limit_kw.value = np.full(len(import_limit_kw), max(0.0, export_limit_kw))


class Ramp:
    """Means of neighbouring steps differ by at most what the ramp limit allows from the middle of one to that of the next; the first step
    starts from the import measured. Soft: a load may jump, and what storage cannot take is priced."""

    def __init__(self, kw_per_min: float, power_kw: cp.Variable) -> None:
        n = power_kw.size
        self.kw_per_min = kw_per_min
        self.now_kw = cp.Parameter()
        self.free_kw = cp.Parameter(n, nonneg=True)
        self.beyond_kw = cp.Variable(n, nonneg=True)
        before_kw = cp.hstack([self.now_kw, power_kw[:-1]]) if n > 1 else self.now_kw
        self.cost: cp.Expression = RAMP_PRICE_PER_KW * cp.sum(self.beyond_kw)
        self.constraints: dict[str, cp.Constraint] = {
            "rises no faster than the ramp limit": power_kw - before_kw <= self.free_kw + self.beyond_kw,
            "falls no faster than the ramp limit": before_kw - power_kw <= self.free_kw + self.beyond_kw,
        }

    def update(self, import_now_kw: float | None, duration_h: Array) -> None:
        """Sets what may change between steps in kW, and the import now; None: unknown, the first step is free."""
        minutes = 30.0 * (duration_h + np.r_[0.0, duration_h[:-1]])
        free_kw = self.kw_per_min * minutes
        self.free_kw.value = free_kw if import_now_kw is not None else np.r_[ANY_CHANGE_KW, free_kw[1:]]
        self.now_kw.value = 0.0 if import_now_kw is None else import_now_kw
