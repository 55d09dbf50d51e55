"""How a UPS enters the plan: losses of what it carries, battery powers, and the reserve it never sells."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

from ems.assets.throughput.block import DailyBudget
from ems.assets.ups.model import Ups

Array = NDArray[np.float64]
TIE_BREAK_PER_KWH = 1.1e-4  # a little above a battery's: between equals the battery moves


class UpsBlock:
    """N powers, N+1 energies (nameplate kWh). `carried_kw` is the IT power behind it, one value per step.

    A loss curve enters as its tangent at the load foreseen: what is left out is its curvature times the square of what is cut or moved.
    """

    def __init__(self, ups: Ups, duration_h: cp.Parameter, carried_kw: cp.Expression, days: int = 3) -> None:
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
        stored_kw = ups.charge_efficiency * self.charge_kw - (1.0 / ups.discharge_efficiency) * self.discharge_kw
        self.battery_kw = self.charge_kw - self.discharge_kw
        self.marginal_loss = cp.Parameter(n, nonneg=True)
        self.loss_at_zero_kw = cp.Parameter(n)
        losses_kw = cp.multiply(self.marginal_loss, carried_kw) + self.loss_at_zero_kw if ups.loss_curve else ups.loss_fraction * carried_kw
        self.power_kw = losses_kw + self.battery_kw
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
        self.budget = DailyBudget(ups.cell_kwh_per_day, self.discharge_kw, days) if ups.cell_kwh_per_day else None
        if self.budget is not None:
            self.constraints["gives no more in a day than its cells may"] = self.budget.constraint

    def update(
        self,
        energy_now_kwh: float,
        reserve_kwh: float,
        duration_h: Array,
        available: Array,
        stored_value_per_kwh: float,
        readiness_per_kwh: Array,
        foreseen_kw: Array | None = None,
    ) -> None:
        """Sets the measured energy and the reserve, clamped to what charging can reach; a monitored UPS stays still.
        `foreseen_kw` is the load its loss curve is followed at. A reserve that is not whole is restored at the recharge limit."""
        energy_kwh = min(max(energy_now_kwh, 0.0), self.ups.energy_kwh)
        movable = available * (self.ups.is_grid_interactive and not self.ups.is_lead_acid)
        self.max_charge_kw.value = charge_limits_kw(self.ups, energy_kwh, reserve_kwh, duration_h) * movable
        self.max_discharge_kw.value = self.ups.rating_kw * movable
        gained_kwh = np.cumsum(self.max_charge_kw.value * duration_h) * self.ups.charge_efficiency
        reachable_kwh = energy_kwh + np.concatenate([[0.0], gained_kwh])
        if foreseen_kw is not None and self.ups.loss_curve:
            slope = np.array([self.ups.marginal_loss(kw) for kw in foreseen_kw.tolist()])
            self.marginal_loss.value = slope
            self.loss_at_zero_kw.value = np.array([self.ups.loss_kw(kw) for kw in foreseen_kw.tolist()]) - slope * foreseen_kw
        self.energy_now_kwh.value = energy_kwh
        self.reserve_kwh.value = np.minimum(min(reserve_kwh, self.ups.energy_kwh), reachable_kwh * (1 - 1e-9))
        self.stored_value_per_kwh.value = max(0.0, stored_value_per_kwh)
        self.readiness_per_kwh.value = readiness_per_kwh


def charge_limits_kw(ups: Ups, energy_kwh: float, reserve_kwh: float, duration_h: Array) -> Array:
    """The most it charges with in each step: the recharge limit until the reserve is whole again, its rating from then on."""
    if ups.recharge_kw is None or energy_kwh >= reserve_kwh:
        return np.full(len(duration_h), ups.charge_kw)
    whole_after_h = (reserve_kwh - energy_kwh) / (ups.recharge_kw * ups.charge_efficiency)
    begins_h = np.cumsum(duration_h) - duration_h
    return np.where(begins_h < whole_after_h, min(ups.recharge_kw, ups.charge_kw), ups.charge_kw)
