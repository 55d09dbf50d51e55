"""How a battery enters the plan: N powers, N+1 energies."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

from ems.assets.battery.curves import lines
from ems.assets.battery.depth_wear import DepthWear
from ems.assets.battery.model import Battery
from ems.assets.throughput import DailyBudget

Array = NDArray[np.float64]
TIE_BREAK_PER_KWH = 1e-4  # keeps a battery still between equally good plans


class BatteryBlock:
    """Charge and discharge at the AC terminals; energy above the floor and below the ceiling; wear per kWh of throughput."""

    def __init__(self, battery: Battery, duration_h: cp.Parameter, days: int = 3) -> None:
        n = duration_h.size
        self.battery = battery
        self.charge_kw = cp.Variable(n, nonneg=True)
        self.discharge_kw = cp.Variable(n, nonneg=True)
        self.energy_kwh = cp.Variable(n + 1)
        self.energy_now_kwh = cp.Parameter(nonneg=True)
        self.floor_kwh = cp.Parameter(n + 1)
        self.ceiling_kwh = cp.Parameter(n + 1, nonneg=True)
        self.max_charge_kw = cp.Parameter(n, nonneg=True)
        self.max_discharge_kw = cp.Parameter(n, nonneg=True)
        self.auxiliary_kwh = cp.Parameter(n, nonneg=True)
        self.stored_value_per_kwh = cp.Parameter(nonneg=True)
        self.readiness_per_kwh = cp.Parameter(n, nonneg=True)
        stored_kw = battery.charge_efficiency * self.charge_kw - self.discharge_kw / battery.discharge_efficiency
        self.power_kw = self.charge_kw - self.discharge_kw
        throughput_kwh = duration_h @ (self.charge_kw + self.discharge_kw)
        self.cost = (
            (battery.wear_price_per_kwh + TIE_BREAK_PER_KWH) * throughput_kwh
            - self.stored_value_per_kwh * self.energy_kwh[n]
            - self.readiness_per_kwh @ self.energy_kwh[1:]
        )
        self.constraints = {
            "starts at the measured energy": self.energy_kwh[0] == self.energy_now_kwh,
            "energy balance": self.energy_kwh[1:] == self.energy_kwh[:-1] + cp.multiply(duration_h, stored_kw) - self.auxiliary_kwh,
            "stays above the floor": self.energy_kwh >= self.floor_kwh,
            "stays below the ceiling": self.energy_kwh <= self.ceiling_kwh,
            "charges within its rating": self.charge_kw <= self.max_charge_kw,
            "discharges within its rating": self.discharge_kw <= self.max_discharge_kw,
        }
        self.charge_line = self._follow_charge("charges", self.charge_kw, battery.charge_limit_by_soc)
        self.discharge_line = self._follow_charge("discharges", self.discharge_kw, battery.discharge_limit_by_soc)
        self.depth = DepthWear(battery, self.energy_kwh) if battery.wear_by_depth else None
        if self.depth is not None:
            self.cost = self.cost + self.depth.cost
            self.constraints |= self.depth.constraints
        self.budget = DailyBudget(battery.warranty_kwh_per_day, self.discharge_kw, days) if battery.warranty_kwh_per_day else None
        if self.budget is not None:
            self.constraints["gives no more in a day than its warranty"] = self.budget.constraint

    def _follow_charge(
        self, does: str, power_kw: cp.Variable, points: tuple[tuple[float, float], ...]
    ) -> list[tuple[cp.Parameter, float, float]]:
        """Rows for a limit that is concave in the state of charge, at the mean of a step's two energies (a mean power cannot be above it).
        Returns the offset, in kW, and the line of each row."""
        battery, rows = self.battery, []
        mean_kwh = 0.5 * (self.energy_kwh[1:] + self.energy_kwh[:-1])
        for k, (at_empty, slope) in enumerate(lines(points)):
            offset_kw = cp.Parameter()
            per_h = slope * battery.power_kw / battery.energy_kwh
            self.constraints[f"{does} as its state of charge allows ({k})"] = power_kw - per_h * mean_kwh <= offset_kw
            rows.append((offset_kw, at_empty * battery.power_kw, per_h))
        return rows

    def update(
        self,
        energy_now_kwh: float,
        duration_h: Array,
        available: Array,
        stored_value_per_kwh: float,
        readiness_per_kwh: Array,
        present: float = 1.0,
    ) -> None:
        """Sets the measured energy, how much of the rating is available per step (0-1) and what a kWh is worth: left at
        the end, and standing ready during each step. `present` is the share of its strings that is there (rating and energy).

        A battery outside its window is never infeasible: the window is stretched to where it is.
        """
        rating_kw = self.battery.power_kw * available * present
        drained_kwh = self.battery.auxiliary_kw * np.concatenate([[0.0], np.cumsum(duration_h)])
        self.energy_now_kwh.value = energy_now_kwh
        self.auxiliary_kwh.value = self.battery.auxiliary_kw * duration_h
        self.floor_kwh.value = np.minimum(self.battery.min_energy_kwh * present, energy_now_kwh - drained_kwh)
        self.ceiling_kwh.value = np.full(len(duration_h) + 1, max(self.battery.max_energy_kwh * present, energy_now_kwh))
        self.max_charge_kw.value = self.max_discharge_kw.value = rating_kw
        for offset_kw, at_empty_kw, per_h in (*self.charge_line, *self.discharge_line):
            ends = (float(np.min(self.floor_kwh.value)), float(np.max(self.ceiling_kwh.value)))
            short_kw = min(0.0, *(at_empty_kw * present + per_h * e for e in ends))  # a store outside its range may at least stand still
            offset_kw.value = at_empty_kw * present - short_kw
        if self.depth is not None:
            self.depth.update(energy_now_kwh)
        self.stored_value_per_kwh.value = max(0.0, stored_value_per_kwh)
        self.readiness_per_kwh.value = readiness_per_kwh
