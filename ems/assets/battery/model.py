"""A battery: frozen ratings and measured state. Power is positive when charging.

Curves are points (x, share): `charge_limit_by_soc` and `discharge_limit_by_soc` over the whole range of state of charge, concave;
`limit_by_ambient_c` over the outdoor temperature. `wear_by_depth` are bands (depth up to, price per kWh out of the store), prices rising
with depth; where they are given they replace `wear_price_per_kwh`.
"""

from __future__ import annotations

from dataclasses import dataclass

from ems.assets.asset import DeviceLink
from ems.assets.battery.curves import Point, share_at
from ems.assets.battery.droop import Droop

READINGS = ("power_kw", "soc", "max_charge_kw", "max_discharge_kw", "is_local", "frequency_hz")
COMMANDS = ("power_setpoint_kw",)


@dataclass(frozen=True)
class Battery:
    """Ratings at the AC terminals. Efficiencies are one way; wear is money per kWh of throughput (charge + discharge)."""

    id: str
    power_kw: float
    energy_kwh: float
    charge_efficiency: float
    discharge_efficiency: float
    soc_min: float
    soc_max: float
    wear_price_per_kwh: float
    ramp_kw_per_s: float
    initial_soc: float
    auxiliary_kw: float
    link: DeviceLink | None
    string_of: str = ""  # the entry of the site file this is one string of; empty for a battery that stands alone
    chemistry: str = ""  # strings of different chemistry are never planned as one
    charge_limit_by_soc: tuple[Point, ...] = ()
    discharge_limit_by_soc: tuple[Point, ...] = ()
    limit_by_ambient_c: tuple[Point, ...] = ()
    wear_by_depth: tuple[Point, ...] = ()
    warranty_kwh_per_day: float | None = None  # discharge at the terminals per local day
    is_worn_out: bool = False  # at or below its end-of-life capacity: not used any more
    droop: Droop | None = None  # armed in its firmware

    @property
    def min_energy_kwh(self) -> float:
        """Energy at the bottom of the state-of-charge window."""
        return self.soc_min * self.energy_kwh

    @property
    def max_energy_kwh(self) -> float:
        """Energy at the top of the state-of-charge window."""
        return self.soc_max * self.energy_kwh

    def charge_limit_kw(self, soc: float, ambient_c: float | None) -> float:
        """The most it takes at a state of charge and an outdoor temperature; an unknown temperature is left to the device's own limit."""
        return self.power_kw * min(share_at(self.charge_limit_by_soc, soc), self.ambient_share(ambient_c))

    def discharge_limit_kw(self, soc: float, ambient_c: float | None) -> float:
        """The most it gives, likewise."""
        return self.power_kw * min(share_at(self.discharge_limit_by_soc, soc), self.ambient_share(ambient_c))

    def ambient_share(self, ambient_c: float | None) -> float:
        """The share of the rating that the outdoor temperature leaves."""
        return 1.0 if ambient_c is None else share_at(self.limit_by_ambient_c, ambient_c)


@dataclass(frozen=True, slots=True)
class BatteryState:
    """Measured: power (charging positive), state of charge, and what the device says it can do now."""

    power_kw: float
    soc: float
    max_charge_kw: float
    max_discharge_kw: float
    is_fresh: bool
    is_local: bool = False  # a person has taken the device
    droop_kw: tuple[float, float] = (0.0, 0.0)  # between which two its own droop moves it now, on top of the setpoint
