"""How a battery enters the plan: N powers, N+1 energies."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

from ems.assets.battery.curves import band_widths, fill_bands, lines, move_bands
from ems.assets.battery.model import Battery
from ems.assets.throughput.block import DailyBudget

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
        stored_kw = battery.charge_efficiency * self.charge_kw - (1.0 / battery.discharge_efficiency) * self.discharge_kw
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
        both_kwh = self.energy_kwh[1:] + self.energy_kwh[:-1]
        for k, (at_empty, slope) in enumerate(lines(points)):
            offset_kw = cp.Parameter()
            per_h = slope * battery.power_kw / battery.energy_kwh
            self.constraints[f"{does} as its state of charge allows ({k})"] = power_kw - (0.5 * per_h) * both_kwh <= offset_kw
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


class DepthWear:
    """Wear by the depth of cycles: the store seen as bands, shallow ones cheap to cycle and deep ones dear. N+1 energies per band; `cost`
    prices what leaves each band, per kWh out of the store.

    Energy leaves the shallowest band that holds some and fills the shallowest that has room, since that is cheapest; so a band is emptied
    exactly as often as cycles are deep enough to reach it, and the cost of a course equals that of its rainflow cycles when the price of a
    cycle is piecewise linear and convex in its depth (B. Xu et al., IEEE Trans. Smart Grid 9(2), 2018). Tests hold it against `rainflow`.
    """

    def __init__(self, battery: Battery, energy_kwh: cp.Variable) -> None:
        n, bands = energy_kwh.size - 1, battery.wear_by_depth
        self.widths = band_widths(bands, battery.energy_kwh)
        self.prices = np.array([price for _, price in bands])
        self.held_kwh = [cp.Variable(n + 1) for _ in bands]
        self.drawn_kwh = [cp.Variable(n, nonneg=True) for _ in bands]
        self.held_now_kwh = cp.Parameter(len(bands))
        self.cost = sum((p * cp.sum(v) for p, v in zip(self.prices, self.drawn_kwh, strict=True)), start=cp.Constant(0.0))
        self.constraints = {"bands make up the energy": sum(self.held_kwh[1:], start=self.held_kwh[0]) == energy_kwh}
        for k, (held, drawn, width) in enumerate(zip(self.held_kwh, self.drawn_kwh, self.widths, strict=True)):
            self.constraints[f"band {k} starts where it is"] = held[0] == self.held_now_kwh[k]
            self.constraints[f"band {k} is drawn down at a price"] = drawn >= held[:-1] - held[1:]
            if k < len(bands) - 1:  # the deepest takes whatever lies outside all bands
                self.constraints[f"band {k} is never below empty"] = held >= 0
                self.constraints[f"band {k} is never above full"] = held <= width
        self._now: list[float] | None = None
        self._last_kwh = 0.0

    def update(self, energy_now_kwh: float) -> None:
        """Moves the bands by what the measured energy changed since the last plan; the first plan knows no past."""
        if self._now is None:
            self._now = fill_bands(energy_now_kwh, self.widths)
        else:
            self._now = move_bands(self._now, energy_now_kwh - self._last_kwh, self.widths)
        self._last_kwh = energy_now_kwh
        self.held_now_kwh.value = np.array(self._now)
