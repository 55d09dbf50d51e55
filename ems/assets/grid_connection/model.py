"""The point of connection: what it may carry and what its meter says. Power is positive into the site (import)."""

from __future__ import annotations

from dataclasses import dataclass

from ems.assets.asset import DeviceLink
from ems.limit import Limit

# Points a point-of-connection meter page offers (kW, kWh, kvar; import positive).
READINGS = ("power_kw", "import_energy_kwh", "export_energy_kwh", "reactive_kvar")


@dataclass(frozen=True)
class PointOfConnection:
    """Limits in kW at the utility meter; `limits` always holds at least the protective import limit."""

    id: str
    limits: tuple[Limit, ...]
    export_limit_kw: float
    ramp_limit_kw_per_min: float | None
    import_breach_price_per_kwh: float
    meter: DeviceLink | None

    @property
    def import_limit_kw(self) -> float:
        """The smallest 1-s import limit in kW that always holds and may never be exceeded."""
        return min(limit.kw for limit in self.limits if limit.is_standing and not limit.curve)

    @property
    def lasting_limit_kw(self) -> float:
        """The import in kW that may last for ever: what a limit allows for a time is left out."""
        return min(limit.kw for limit in self.limits if limit.is_standing)


@dataclass(frozen=True, slots=True)
class ConnectionState:
    """What the meter shows. `power_kw` is import positive; None when the meter is not to be trusted."""

    power_kw: float | None
    is_fresh: bool
    is_balanced: bool = True  # meter and devices tell the same story
    reactive_kvar: float | None = None  # None where the meter shows none
