"""Cooling whose power follows IT heat with a first-order lag; the share of IT power grows with outdoor temperature."""

from __future__ import annotations

from dataclasses import dataclass

from ems.assets.asset import DeviceLink

READINGS = ("power_kw", "outdoor_temp_c", "supply_temp_c")


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

    def fraction(self, outdoor_temp_c: float | None) -> float:
        """kW of cooling per kW of IT; the worst case when the temperature is unknown."""
        if outdoor_temp_c is None:
            return max(self.fraction_at_10c, self.fraction_at_40c)
        share = min(1.0, max(0.0, (outdoor_temp_c - 10.0) / 30.0))
        return self.fraction_at_10c + share * (self.fraction_at_40c - self.fraction_at_10c)


@dataclass(frozen=True, slots=True)
class CoolingState:
    """Measured power in kW and outdoor temperature (None when unknown)."""

    power_kw: float
    outdoor_temp_c: float | None
    is_fresh: bool
