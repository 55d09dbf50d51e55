"""What is usual for each kind of machine: the defaults of a generator entry. The site file's own numbers win.

Start, minimum load, ramp and efficiency as published (NFPA 110 type 10 for diesel, engine and turbine makers' pages); fuel per hour is a
straight line, idle share x full flow at zero power. Diesel 0.25 L/kWh at full load, 2.68 kg CO2/L; gas 0.202 kg CO2 per kWh of heat (LHV).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Technology:
    """Per unit of the rating where the name says share."""

    min_load_share: float
    ramp_share_per_min: float
    start_s: float
    cooldown_s: float
    min_up_h: float
    min_down_h: float
    start_failure: float
    fuel_per_kwh: float  # at full load
    idle_share: float  # of the full flow at zero power
    fuel_unit: str
    co2_kg_per_fuel: float
    repair_h: float


TECHNOLOGIES = {
    "diesel": Technology(0.30, 6.0, 10.0, 300.0, 0.0, 0.0, 0.007, 0.25, 0.05, "L", 2.68, 4.0),
    "gas_engine": Technology(0.20, 1.0, 180.0, 300.0, 0.5, 0.5, 0.01, 1.0 / 0.46, 0.08, "kWh heat", 0.202, 4.0),
    "turbine": Technology(0.40, 0.5, 390.0, 600.0, 1.0, 1.0, 0.01, 1.0 / 0.39, 0.20, "kWh heat", 0.202, 8.0),
    "fuel_cell": Technology(0.30, 0.05, 4 * 3600.0, 3600.0, 24.0, 24.0, 0.01, 1.0 / 0.55, 0.05, "kWh heat", 0.202, 8.0),
    "smr": Technology(0.50, 0.01, 48 * 3600.0, 24 * 3600.0, 168.0, 72.0, 0.0, 1.0 / 0.33, 0.05, "kWh heat", 0.0, 72.0),
}


def fuel_line(technology: Technology, power_kw: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Two points of the fuel curve, at zero and at full power: kW, and fuel units per hour."""
    full = technology.fuel_per_kwh * power_kw
    return (0.0, power_kw), (technology.idle_share * full, full)
