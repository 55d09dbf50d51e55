"""How sun and wind enter the plan: as much as is expected to be there, or less."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

from ems.assets.renewable.model import Renewable

Array = NDArray[np.float64]
TIE_BREAK_PER_KWH = 1e-5  # on curtailing: nothing is thrown away for nothing


class RenewableBlock:
    """`curtailed_kw` of `available_kw`, one value per step; the power is minus the rest."""

    def __init__(self, renewable: Renewable, duration_h: cp.Parameter) -> None:
        n = duration_h.size
        self.renewable = renewable
        self.curtailed_kw = cp.Variable(n, nonneg=True)
        self.available_kw = cp.Parameter(n, nonneg=True)
        self.available_kwh = cp.Parameter(nonneg=True)  # of the horizon: a Parameter times a Parameter would not be DPP
        self.power_kw = self.curtailed_kw - self.available_kw
        curtailed_kwh = duration_h @ self.curtailed_kw
        per_curtailed = renewable.curtailment_price_per_kwh - renewable.purchase_price_per_kwh + TIE_BREAK_PER_KWH
        self.cost = renewable.purchase_price_per_kwh * self.available_kwh + per_curtailed * curtailed_kwh
        self.constraints = {"curtails at most what is there": self.curtailed_kw <= self.available_kw}

    def update(self, available_kw: Array, duration_h: Array) -> None:
        """Sets what is expected to be there, in kW per step (a quantile of the forecast)."""
        self.available_kw.value = np.clip(available_kw, 0.0, self.renewable.power_kw)
        self.available_kwh.value = float(duration_h @ self.available_kw.value)
