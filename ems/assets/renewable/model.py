"""A plant fed by sun or wind: ratings and measured state. Power is positive into the asset, so generating is negative."""

from __future__ import annotations

from dataclasses import dataclass

from ems.assets.asset import DeviceLink

READINGS = ("power_kw", "available_kw", "is_local")
COMMANDS = ("generation_limit_kw",)  # a ceiling on what it gives, at least 0; it lapses to the rating


@dataclass(frozen=True)
class Renewable:
    """Ratings at the terminals. Under a power-purchase agreement delivered energy costs its price, and curtailed energy may be owed too."""

    id: str
    technology: str  # pv, wind
    power_kw: float
    ramp_kw_per_s: float
    purchase_price_per_kwh: float  # money per kWh delivered; 0 for an own plant
    curtailment_price_per_kwh: float  # money per kWh that was there and not taken
    link: DeviceLink | None


@dataclass(frozen=True, slots=True)
class RenewableState:
    """Measured power (generating negative) and what sun or wind would give now; None when the device does not say."""

    power_kw: float
    available_kw: float | None
    is_fresh: bool
    is_local: bool = False

    @property
    def generation_kw(self) -> float:
        """What it gives, never negative."""
        return max(0.0, -self.power_kw)
