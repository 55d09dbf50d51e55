"""A generator: frozen ratings and measured state. Power is positive into the asset, so a machine that generates has a negative power.

Three duties. `emergency`: never runs for money; its transfer control starts it when the mains fail, a person for a test, and we only under
an order that names it. `permitted`: runs when that pays, within its permit. `baseload`: runs always (a reactor), slowly led, with outages.
The controller only ever requests; the machine's own transfer control owns start, synchronising and transfer.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from ems.assets.asset import DeviceLink

READINGS = ("power_kw", "mode", "available_kw", "carries_load", "start_cause", "run_hours_h", "is_local")
COMMANDS = ("run_request", "power_setpoint_kw")  # 1: please run, 0: no request; power in kW, generating negative
MODES = ("off", "starting", "warming", "synchronising", "loaded", "cooling_down", "fault")  # value of `mode` is the index
STARTING = frozenset({"starting", "warming", "synchronising"})  # on its way to load
RUNNING = STARTING | {"loaded"}  # what counts as on: requested and not yet let go
CAUSES = ("none", "request", "transfer", "test", "local")  # value of `start_cause` is the index: who started it
HOURS_PER_YEAR = 8784.0


@dataclass(frozen=True)
class Pollutant:
    """Another pollutant the permit counts, by fuel burnt; `used_kg`: emitted in this year before the controller began."""

    name: str
    kg_per_fuel: float
    kg_per_year: float
    used_kg: float = 0.0


class Duty(StrEnum):
    """What a machine may run for."""

    EMERGENCY = "emergency"
    PERMITTED = "permitted"
    BASELOAD = "baseload"


@dataclass(frozen=True)
class Generator:
    """Ratings at the terminals. Fuel in its own unit (`fuel_unit`: L, Nm3, kWh of heat) at a price per unit.

    `fuel_at_kw` and `fuel_per_h` are the points of the fuel curve: units per hour at that power, straight lines between, convex.
    Budgets run per calendar year of the site's time zone; None: none. Outages are epoch seconds, `[start, end)`.
    """

    id: str
    duty: Duty
    technology: str  # diesel, gas_engine, turbine, fuel_cell, smr: a label, the numbers decide
    power_kw: float
    min_power_kw: float
    ramp_kw_per_s: float
    start_s: float  # from request to load
    cooldown_s: float
    min_up_h: float
    min_down_h: float
    start_cost: float  # money per start: wear and fuel
    start_failure: float  # chance that a start fails, 0 to 1
    fuel_at_kw: tuple[float, ...]
    fuel_per_h: tuple[float, ...]
    fuel_price: float
    fuel_unit: str
    maintenance_price_per_kwh: float
    co2_kg_per_fuel: float
    emission_kg_per_fuel: float  # of the pollutant the permit counts
    emission_kg_per_year: float | None
    permit_h_per_year: float | None
    permit_hour_price: float  # what an hour of the permit is worth kept for later
    permit_used_h: float  # hours of this year used before the controller began
    emission_used_kg: float
    ordered_by: tuple[str, ...]  # grid programmes under whose orders an emergency machine may be requested
    outage_start_s: tuple[float, ...]
    outage_end_s: tuple[float, ...]
    repair_h: float  # how long it is counted out after a fault
    is_on_at_start: bool  # how simulated equipment begins
    link: DeviceLink | None
    other_emissions: tuple[Pollutant, ...] = ()

    def emission_budget_kg(self, counts_used: bool) -> float | None:
        """Kilograms of the first pollutant that may be emitted in a year until the first budget of all is used up (all go with the fuel);
        less what was used before the controller began where that counts. None without a budget."""
        if self.emission_kg_per_year is None:
            return None
        others_fuel = [(p.kg_per_year - counts_used * p.used_kg) / p.kg_per_fuel for p in self.other_emissions]
        own_kg = self.emission_kg_per_year - counts_used * self.emission_used_kg
        return min(own_kg, *(fuel * self.emission_kg_per_fuel for fuel in others_fuel)) if others_fuel else own_kg

    @property
    def is_baseload(self) -> bool:
        """True for a machine that always runs."""
        return self.duty == Duty.BASELOAD

    @property
    def is_emergency(self) -> bool:
        """True for a machine that never runs for money."""
        return self.duty == Duty.EMERGENCY

    @property
    def segments(self) -> tuple[tuple[float, float], ...]:
        """The fuel curve as lines (units per kWh, units per hour at zero power); fuel is the largest of them while it runs."""
        points = list(zip(self.fuel_at_kw, self.fuel_per_h, strict=True))
        if len(points) == 1:
            return ((points[0][1] / points[0][0], 0.0),)
        slopes = [(f1 - f0) / (p1 - p0) for (p0, f0), (p1, f1) in pairwise(points)]
        return tuple((slope, fuel - slope * power) for slope, (power, fuel) in zip(slopes, points, strict=False))

    def burns_per_h(self, generation_kw: float) -> float:
        """Fuel units per hour while it runs at a power; idling burns what the curve says at zero."""
        return max(0.0, max(slope * generation_kw + idle for slope, idle in self.segments))

    def is_out(self, at_s: float) -> bool:
        """True within an announced outage."""
        return any(start <= at_s < end for start, end in zip(self.outage_start_s, self.outage_end_s, strict=True))


@dataclass(frozen=True, slots=True)
class GeneratorState:
    """Measured: power (generating negative), mode, what it could give now (kW, at least 0), and who has started it."""

    power_kw: float
    mode: str
    available_kw: float
    is_fresh: bool
    carries_load: bool = False  # its transfer control has put the load on it
    is_local: bool = False
    cause: str = "none"
    run_hours_h: float | None = None  # its own counter, of its whole life

    @property
    def generation_kw(self) -> float:
        """What it gives, never negative."""
        return max(0.0, -self.power_kw)

    @property
    def is_on(self) -> bool:
        """True from the request until it is let go."""
        return self.mode in RUNNING


@dataclass(frozen=True, slots=True)
class GeneratorRun:
    """What is known of a machine beyond its readings: how long it has been on (or off), and what is left of its budgets."""

    is_on: bool
    since_h: float  # hours in that state
    generation_kw: float
    available: float  # share of the rating it says it can give, 0 to 1
    blocked_h: float  # hours until it may be counted on again after a fault
    permit_left_h: float
    emission_left_kg: float
    ordered_because: str = ""  # "" or the order or person for whom an emergency machine may be requested now
    start_left_h: float = 0.0  # hours of its start before it takes load, counted from the end of a repair; 0 while it is loaded
