"""Cooling whose electrical power follows the heat of the IT with a first-order lag."""

from __future__ import annotations

import math
from random import Random

from ems.assets.cooling.model import Cooling
from simulators.devices.device import Device

SUPPLY_TEMP_C = 24.0
WARM_UP_K = 8.0  # rise of the supply temperature when cooling delivers nothing of what is asked


class CoolingDevice(Device):
    """tau * P' = f(T) * IT - P, solved exactly for heat held constant over the step; it begins in balance."""

    is_too_warm = False  # its loop is not modelled
    __slots__ = ("_asked_kw", "_decay", "_decay_for_s", "_is_started", "outdoor_temp_c", "rating")

    def __init__(self, rating: Cooling, rng: Random) -> None:
        super().__init__(rating.id, rating.link.lease_s if rating.link is not None else None, rng)
        self.rating = rating
        self.outdoor_temp_c = 20.0
        self._asked_kw = 0.0
        self._is_started = False
        self._decay_for_s = 0.0
        self._decay = 1.0

    def step(self, dt_s: float, at_s: float, it_kw: float, outdoor_temp_c: float) -> None:
        """Moves cooling power towards what the IT heat asks for at this outdoor temperature."""
        self._begin_step(at_s)
        self.outdoor_temp_c = outdoor_temp_c
        self._asked_kw = asked_kw = min(self.rating.rating_kw, share_of_heat(self.rating, outdoor_temp_c) * it_kw)
        start_kw = self.power_now_kw if self._is_started else asked_kw
        self._is_started = True
        if "trip" in self.faults:
            self.power_kw = self.power_now_kw = 0.0
            return
        decay = self._decay_over(dt_s)
        self.power_now_kw = asked_kw + (start_kw - asked_kw) * decay
        self.power_kw = asked_kw + (start_kw - asked_kw) * (1.0 - decay) * self.rating.lag_s / dt_s

    def _decay_over(self, dt_s: float) -> float:
        if dt_s != self._decay_for_s:
            self._decay_for_s = dt_s
            self._decay = math.exp(-dt_s / self.rating.lag_s) if self.rating.lag_s > 0 else 0.0
        return self._decay

    def _readings(self) -> dict[str, float]:
        missing_kw = max(0.0, self._asked_kw - self.power_now_kw)
        return {
            "power_kw": self._noisy(self.power_now_kw),
            "outdoor_temp_c": self.outdoor_temp_c,
            "supply_temp_c": SUPPLY_TEMP_C + (WARM_UP_K * missing_kw / self._asked_kw if self._asked_kw > 0 else 0.0),
        }


def share_of_heat(rating: Cooling, outdoor_temp_c: float) -> float:
    """kW of cooling per kW of IT: a straight line through the ratings at 10 and 40 degrees C, level outside."""
    if outdoor_temp_c <= 10.0:
        return rating.fraction_at_10c
    if outdoor_temp_c >= 40.0:
        return rating.fraction_at_40c
    return (rating.fraction_at_10c * (40.0 - outdoor_temp_c) + rating.fraction_at_40c * (outdoor_temp_c - 10.0)) / 30.0
