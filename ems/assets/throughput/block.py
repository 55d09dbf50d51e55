"""A budget of energy a store may give in a local day: a warranty, or the life of UPS cells."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class DailyBudget:
    """At most `kwh_per_day` discharged (at the terminals) in each local day of the horizon. It remembers what today has given already,
    as the controller counted it; where nobody counts, seen as the fall of the measured energy from plan to plan."""

    def __init__(self, kwh_per_day: float, discharge_kw: cp.Variable, days: int) -> None:
        self.kwh_per_day = kwh_per_day
        self.hours = cp.Parameter((days, discharge_kw.size), nonneg=True)
        self.left_kwh = cp.Parameter(days, nonneg=True)
        self.constraint = self.hours @ discharge_kw <= self.left_kwh
        self._day, self._given_kwh = 0, 0.0
        self._last_kwh: float | None = None

    def update(self, day_hours: Array, today: int, energy_kwh: float, discharge_efficiency: float, given_kwh: float | None = None) -> None:
        """`day_hours`: hours of each step in each local day, today first; `today`: any number that names the day."""
        if today != self._day:
            self._day, self._given_kwh = today, 0.0
        elif self._last_kwh is not None:
            self._given_kwh += max(0.0, self._last_kwh - energy_kwh) * discharge_efficiency
        self._last_kwh = energy_kwh
        if given_kwh is not None:
            self._given_kwh = given_kwh
        rows = self.hours.shape[0]
        padded = np.zeros(self.hours.shape)
        padded[: min(rows, len(day_hours))] = day_hours[:rows]
        self.hours.value = padded
        self.left_kwh.value = np.r_[max(0.0, self.kwh_per_day - self._given_kwh), np.full(rows - 1, self.kwh_per_day)]
