"""A battery: frozen ratings and measured state. Power is positive when charging."""

from __future__ import annotations

from dataclasses import dataclass

from ems.assets.asset import DeviceLink

READINGS = ("power_kw", "soc", "max_charge_kw", "max_discharge_kw", "is_local")
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

    @property
    def min_energy_kwh(self) -> float:
        """Energy at the bottom of the state-of-charge window."""
        return self.soc_min * self.energy_kwh

    @property
    def max_energy_kwh(self) -> float:
        """Energy at the top of the state-of-charge window."""
        return self.soc_max * self.energy_kwh


@dataclass(frozen=True, slots=True)
class BatteryState:
    """Measured: power (charging positive), state of charge, and what the device says it can do now."""

    power_kw: float
    soc: float
    max_charge_kw: float
    max_discharge_kw: float
    is_fresh: bool
    is_local: bool = False  # a person has taken the device
