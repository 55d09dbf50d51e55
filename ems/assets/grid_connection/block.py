"""How the point of connection enters the plan: net import within the envelope, which is soft at a price nothing else reaches."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
BREACH_PRICE_PER_KWH = 20.0  # on the area above the limit: above every price of cutting work (a few per kWh), far below a scaling problem
BREACH_PRICE_PER_KW = 5.0  # on its height


class GridConnectionBlock:
    """Net import (import +) in kW, one value per step."""

    def __init__(self, duration_h: cp.Parameter) -> None:
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

    def update(self, import_limit_kw: Array, export_limit_kw: float) -> None:
        """Sets the import envelope per step and the export limit, in kW."""
        self.import_limit_kw.value = np.maximum(import_limit_kw, 0.0)
        self.export_limit_kw.value = np.full(len(import_limit_kw), max(0.0, export_limit_kw))
