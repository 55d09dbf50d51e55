"""Wear by the depth of cycles inside the plan: the store seen as bands, shallow ones cheap to cycle and deep ones dear.

Energy leaves the shallowest band that holds some and fills the shallowest that has room, since that is cheapest; so a band is emptied
exactly as often as cycles are deep enough to reach it, and the cost of a course equals that of its rainflow cycles when the price of a
cycle is piecewise linear and convex in its depth (B. Xu et al., IEEE Trans. Smart Grid 9(2), 2018). Tests hold it against `rainflow`.
"""

from __future__ import annotations

import cvxpy as cp
import numpy as np

from ems.assets.battery.curves import band_widths, fill_bands, move_bands
from ems.assets.battery.model import Battery


class DepthWear:
    """N+1 energies per band; `cost` prices what leaves each band, per kWh out of the store."""

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
