"""How cooling enters the plan: a share of IT power that follows the weather, and what is left of its lag."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

from ems.assets.cooling.model import Cooling

Array = NDArray[np.float64]


class CoolingBlock:
    """Power = fraction x IT power + the fading difference between the measured power and that. One value per step.

    A chilled-water plant enters as the tangent of its power at the heat foreseen. The lag (minutes) is short against the steps: only its
    free response from the measured state is kept, not its dynamics.
    """

    def __init__(self, cooling: Cooling, it_kw: cp.Expression) -> None:
        self.cooling = cooling
        self.fraction = cp.Parameter(it_kw.size, nonneg=True)
        self.fading_kw = cp.Parameter(it_kw.size)
        self.power_kw = cp.multiply(self.fraction, it_kw) + self.fading_kw
        self.cost = cp.Constant(0.0)
        self.constraints: dict[str, cp.Constraint] = {}

    def update(
        self, outdoor_temp_c: Array, it_now_kw: float, power_now_kw: float | None, duration_h: Array, foreseen_kw: Array | None = None
    ) -> None:
        """Sets the share per step from the outdoor temperature, and how the measured power fades into it. `foreseen_kw` is the heat a
        plant's curve is followed at."""
        if self.cooling.plant is not None and foreseen_kw is not None:
            self._follow_plant(outdoor_temp_c, foreseen_kw)
            steady_kw, _ = self.cooling.steady(it_now_kw, float(outdoor_temp_c[0]))
            gap_kw = 0.0 if power_now_kw is None else power_now_kw - steady_kw
            self.fading_kw.value = self._intercept_kw + gap_kw * fading_share(self.cooling.lag_s, duration_h)
            return
        self.fraction.value = np.array([self.cooling.fraction(float(t)) for t in outdoor_temp_c])
        gap_kw = 0.0 if power_now_kw is None else power_now_kw - self.fraction.value[0] * it_now_kw
        self.fading_kw.value = gap_kw * fading_share(self.cooling.lag_s, duration_h)

    def _follow_plant(self, outdoor_temp_c: Array, foreseen_kw: Array) -> None:
        pairs = zip(foreseen_kw.tolist(), outdoor_temp_c.tolist(), strict=True)
        tangents = np.array([self.cooling.steady(kw, t) for kw, t in pairs])
        self.fraction.value = np.maximum(tangents[:, 1], 0.0)
        self._intercept_kw = tangents[:, 0] - self.fraction.value * foreseen_kw


def fading_share(lag_s: float, duration_h: Array) -> Array:
    """Mean over each step of exp(-t / lag)."""
    if lag_s <= 0.0:
        return np.zeros(len(duration_h))
    end_h = np.cumsum(duration_h)
    lag_h = lag_s / 3600.0
    return np.asarray((np.exp(-(end_h - duration_h) / lag_h) - np.exp(-end_h / lag_h)) * lag_h / duration_h)
