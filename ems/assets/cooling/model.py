"""Cooling whose power follows IT heat with a first-order lag; the share of IT power grows with outdoor temperature."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from ems.assets.asset import DeviceLink
from ems.assets.cooling.plant import CoolingPlant as CoolingPlant

READINGS = ("power_kw", "outdoor_temp_c", "supply_temp_c", "heat_capacity_kw", "flow_share", "leak", "dew_point_c")
COMMANDS = ("supply_setpoint_c",)  # of a plant that may be led; it lapses to the commissioned supply


@dataclass(frozen=True)
class Cooling:
    """Cooling power = fraction(outdoor temperature) x IT power, linear between 10 and 40 degrees C and flat outside."""

    id: str
    fraction_at_10c: float
    fraction_at_40c: float
    lag_s: float
    rating_kw: float
    cools: tuple[str, ...]
    link: DeviceLink | None
    plant: CoolingPlant | None = None  # chillers and loop by their physics; the two fractions are then the worst of it
    least_heat_kw: float = 0.0  # idle power of what it cools: no share is looked for below it

    @property
    def is_led(self) -> bool:
        """True where the controller may lead the supply temperature."""
        return self.plant is not None and self.plant.is_led

    @property
    def most_kw(self) -> float:
        """The most it can draw in kW: its rating, or what a plant takes at full capacity where that is more."""
        return self.rating_kw if self.plant is None else max(self.rating_kw, self.plant.full_power_kw)

    def fraction(self, outdoor_temp_c: float | None) -> float:
        """kW of cooling per kW of IT; the worst case when the temperature is unknown. Of a plant the worst over its load."""
        if self.plant is not None and outdoor_temp_c is not None:
            return worst_fraction(self.plant, self.least_heat_kw, math.ceil(10.0 * outdoor_temp_c) / 10.0)
        if outdoor_temp_c is None:
            return max(self.fraction_at_10c, self.fraction_at_40c)
        share = min(1.0, max(0.0, (outdoor_temp_c - 10.0) / 30.0))
        return self.fraction_at_10c + share * (self.fraction_at_40c - self.fraction_at_10c)

    def steady(self, it_kw: float, outdoor_temp_c: float) -> tuple[float, float]:
        """Power in kW once the lag is over, and how much more a kW of IT more takes."""
        if self.plant is None:
            fraction = self.fraction(outdoor_temp_c)
            return fraction * it_kw, fraction
        return self.plant.power_kw(it_kw, outdoor_temp_c), self.plant.marginal(it_kw, outdoor_temp_c)


@lru_cache(maxsize=4096)
def worst_fraction(plant: CoolingPlant, least_heat_kw: float, outdoor_temp_c: float) -> float:
    """The most a plant draws per kW of heat at a temperature, over its load from `least_heat_kw` up."""
    least_kw = min(max(least_heat_kw, 0.05 * plant.capacity_kw), plant.capacity_kw)
    heats = [least_kw + (plant.capacity_kw - least_kw) * k / 8 for k in range(9)]
    return max(plant.power_kw(heat, outdoor_temp_c) / heat for heat in heats)


@dataclass(frozen=True, slots=True)
class CoolingState:
    """Measured power in kW, outdoor and supply temperature and the heat it can remove now (None when unknown)."""

    power_kw: float
    outdoor_temp_c: float | None
    is_fresh: bool
    supply_temp_c: float | None = None
    able_kw: float | None = None
    flow_share: float | None = None  # of what the pumps' speed should move; None where the plant does not say
    has_leak: bool = False
    dew_point_c: float | None = None  # of the air around the cold pipes, as measured
