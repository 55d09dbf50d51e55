"""How a UPS enters the plan: losses of what it carries, battery powers, and the reserve it never sells."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

from ems.assets.ups.model import Ups

Array = NDArray[np.float64]
TIE_BREAK_PER_KWH = 1.1e-4  # a little above a battery's: between equals the battery moves


class UpsBlock:
    """N powers, N+1 energies (nameplate kWh). `carried_kw` is the IT power behind it, one value per step."""

    def __init__(self, ups: Ups, duration_h: cp.Parameter, carried_kw: cp.Expression) -> None:
        n = duration_h.size
        self.ups = ups
        self.charge_kw = cp.Variable(n, nonneg=True)
        self.discharge_kw = cp.Variable(n, nonneg=True)
        self.energy_kwh = cp.Variable(n + 1)
        self.energy_now_kwh = cp.Parameter(nonneg=True)
        self.reserve_kwh = cp.Parameter(n + 1, nonneg=True)
        self.max_charge_kw = cp.Parameter(n, nonneg=True)
        self.max_discharge_kw = cp.Parameter(n, nonneg=True)
        self.stored_value_per_kwh = cp.Parameter(nonneg=True)
        self.readiness_per_kwh = cp.Parameter(n, nonneg=True)
        stored_kw = ups.charge_efficiency * self.charge_kw - self.discharge_kw / ups.discharge_efficiency
        self.battery_kw = self.charge_kw - self.discharge_kw
        self.power_kw = ups.loss_fraction * carried_kw + self.battery_kw
        throughput_kwh = duration_h @ (self.charge_kw + self.discharge_kw)
        self.cost = (
            (ups.wear_price_per_kwh + TIE_BREAK_PER_KWH) * throughput_kwh
            - self.stored_value_per_kwh * self.energy_kwh[n]
            - self.readiness_per_kwh @ self.energy_kwh[1:]
        )
        self.constraints = {
            "starts at the measured energy": self.energy_kwh[0] == self.energy_now_kwh,
            "energy balance": self.energy_kwh[1:] == self.energy_kwh[:-1] + cp.multiply(duration_h, stored_kw),
            "keeps the reserve": self.energy_kwh >= self.reserve_kwh,
            "stays below full": self.energy_kwh <= ups.energy_kwh,
            "charges within its rating": self.charge_kw <= self.max_charge_kw,
            "discharges within its rating": self.discharge_kw <= self.max_discharge_kw,
        }
        if not ups.is_bidirectional:
            self.constraints["relieves at most what it carries"] = self.discharge_kw <= carried_kw

    def update(
        self,
        energy_now_kwh: float,
        reserve_kwh: float,
        duration_h: Array,
        available: Array,
        stored_value_per_kwh: float,
        readiness_per_kwh: Array,
    ) -> None:
        """Sets the measured energy and the reserve, clamped to what charging at full rating can reach; a monitored UPS stays still."""
        energy_kwh = min(max(energy_now_kwh, 0.0), self.ups.energy_kwh)
        movable = available * (self.ups.is_grid_interactive and not self.ups.is_lead_acid)
        self.max_charge_kw.value = self.ups.charge_kw * movable
        self.max_discharge_kw.value = self.ups.rating_kw * movable
        gained_kwh = np.cumsum(self.max_charge_kw.value * duration_h) * self.ups.charge_efficiency
        reachable_kwh = energy_kwh + np.concatenate([[0.0], gained_kwh])
        self.energy_now_kwh.value = energy_kwh
        self.reserve_kwh.value = np.minimum(min(reserve_kwh, self.ups.energy_kwh), reachable_kwh * (1 - 1e-9))
        self.stored_value_per_kwh.value = max(0.0, stored_value_per_kwh)
        self.readiness_per_kwh.value = readiness_per_kwh
