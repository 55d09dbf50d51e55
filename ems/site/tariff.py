"""What energy and power cost, as data. Standard library only: the control process carries it as well.

Money is in the currency of the site. Windows are local time of the site; a price without a window holds at every hour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

MARKET = ("indexed", "real_time", "day_ahead")  # energy at a market price; the others have their own prices only
BASIC_CHARGE = "demand charge"  # the name of the one with demand_price_per_kw_month
TAKEN = frozenset(  # parts of a bill and of a plan's cost: a charge of that name could not be told from them
    {
        BASIC_CHARGE,
        "next month's demand charge",
        "energy",
        "demand",
        "next demand",
        "fixed",
        "carbon",
        "contract capacity",
        "coincident peak",
        "minimum take",
        "ramps",
    }
    | {"power by utilisation hours", "energy by utilisation hours", "peak of the energy tiers", "up to the minimum bill", "ramp limit"}
    | {"wear", "fuel", "purchase", "workload", "other"}
)
NEXT, NEXT_YEAR = ", next month", ", next year"  # ends of the names under which a plan prices the later one of two
HOLIDAY = 7  # the day type after Monday (0) to Sunday (6)


@dataclass(frozen=True)
class Window:
    """Hours `[from_h, to_h)` of some day types in some months. Half hours at the finest; `to_h` <= `from_h` runs over midnight."""

    months: tuple[int, ...]  # 1 to 12
    days: tuple[int, ...]  # 0 Monday to 6 Sunday, 7 a holiday
    from_h: float
    to_h: float


@dataclass(frozen=True)
class Tier:
    """A price that holds up to an amount of the month; the last tier has no end."""

    up_to: float | None
    price: float


@dataclass(frozen=True)
class EnergyPeriod:
    """Energy prices of some hours, added to `energy_price_per_kwh` and the market price. Tiers are filled by the whole month's import."""

    name: str
    tiers: tuple[Tier, ...]
    export_price_per_kwh: float | None
    windows: tuple[Window, ...]  # () together with is_rest: every hour no other period takes
    is_rest: bool = False


@dataclass(frozen=True)
class Ratchet:
    """A month is billed for at least `share` of the highest peak of the `months` before it."""

    share: float
    months: int
    in_months: tuple[int, ...]  # months of the year whose bill it can raise
    of_months: tuple[int, ...]  # months of the year whose peak counts


@dataclass(frozen=True)
class DemandCharge:
    """A price per kW and month on the highest interval mean within its windows (every hour when it has none).

    A month without an hour of the windows is not charged. `billed_on` month: the highest mean of all hours, charged where it has hours.
    """

    name: str
    tiers: tuple[Tier, ...]
    interval_min: int
    windows: tuple[Window, ...]
    minimum_kw: float
    ratchet: Ratchet | None
    billed_on: str  # "window" | "month"


@dataclass(frozen=True)
class PastPeak:
    """The highest mean of a demand charge in a month before any data, for ratchets."""

    month: str  # "2024-07"
    charge: str
    kw: float


@dataclass(frozen=True)
class CoincidentPeak:
    """A price per kW and year on the mean import in the system's peak intervals: `per_month` in each month, or `per_year` in the season."""

    rule: str
    price_per_kw_year: float
    months: tuple[int, ...]
    from_h: float
    to_h: float
    interval_min: int
    per_month: int  # 0: the highest `per_year` of the season, on different days
    per_year: int


@dataclass(frozen=True)
class ContractCapacity:
    """Capacity paid for, and what a month whose highest mean breaks it costs per kW above."""

    kw: float
    price_per_kw_month: float
    breach_price_per_kw_month: float
    interval_min: int


@dataclass(frozen=True)
class PricePair:
    """A demand price per kW and year with an energy price that goes with it."""

    demand_price_per_kw_year: float
    energy_price_per_kwh: float


@dataclass(frozen=True)
class UtilisationHours:
    """Benutzungsstunden: which pair holds follows from the year's energy over the year's peak."""

    threshold_h: float
    below: PricePair
    above: PricePair
    interval_min: int
    expected_h: float


@dataclass(frozen=True)
class MinimumTake:
    """Energy of a month that is paid for whether taken or not."""

    kwh_per_month: float
    price_per_kwh: float


@dataclass(frozen=True)
class CarbonPrice:
    """A price on the carbon of the grid, by its average or its marginal intensity."""

    price_per_kg: float
    signal: str  # "average" | "marginal"


@dataclass(frozen=True)
class RampPrice:
    """A price per kW by which the mean import moves from one interval to the next beyond a free rate."""

    free_kw_per_min: float
    price_per_kw: float
    interval_min: int


@dataclass(frozen=True)
class Tariff:
    """What energy and power cost. `energy_price_per_kwh` is added to the market price when prices are indexed, or is the price itself."""

    name: str
    energy: str  # "indexed" (or "real_time"), "day_ahead": market price + adder; "fixed", "time_of_use": the adder alone
    energy_price_per_kwh: float
    export_price_per_kwh: float
    demand_price_per_kw_month: float
    demand_interval_min: int
    export_energy: str = "fixed"  # "fixed" or one of MARKET: the market price is added to the export price
    fixed_price_per_month: float = 0.0
    fixed_price_per_day: float = 0.0
    minimum_charge_per_month: float = 0.0
    minimum_charge_per_year: float = 0.0
    holidays: tuple[str, ...] = ()  # ISO dates that count as holidays
    tier_unit: str = "kwh"  # of the tiers of energy: kwh, kwh_per_day, kwh_per_kw, kwh_per_kw_day
    energy_periods: tuple[EnergyPeriod, ...] = ()
    demand_charges: tuple[DemandCharge, ...] = ()
    past_peaks: tuple[PastPeak, ...] = ()
    coincident_peak: CoincidentPeak | None = None
    contract_capacity: ContractCapacity | None = None
    utilisation_hours: UtilisationHours | None = None
    minimum_take: MinimumTake | None = None
    carbon: CarbonPrice | None = None
    ramp: RampPrice | None = None
    market_fallback_per_kwh: float = 0.05  # what the plan counts with while no market price at all is known

    @property
    def is_market(self) -> bool:
        """True when energy follows a market price."""
        return self.energy in MARKET

    @property
    def is_plain(self) -> bool:
        """True when energy has one price (or follows the market) and power one demand charge: nothing needs the bill engine."""
        simple = (self.energy_periods, self.demand_charges, self.coincident_peak, self.contract_capacity, self.utilisation_hours)
        rare = (self.minimum_take, self.carbon, self.ramp)
        is_export_market = self.export_energy in MARKET
        return not any((*simple, *rare, is_export_market))

    @property
    def holiday_dates(self) -> frozenset[date]:
        """The holidays as dates."""
        return frozenset(date.fromisoformat(day) for day in self.holidays)


ALL_MONTHS = tuple(range(1, 13))


def tariff_from_data(data: Mapping[str, Any]) -> Tariff:
    """The tariff from plain data (dataclasses.asdict of one, as JSON gives it back)."""
    parts = {
        "coincident_peak": CoincidentPeak,
        "contract_capacity": ContractCapacity,
        "minimum_take": MinimumTake,
        "carbon": CarbonPrice,
        "ramp": RampPrice,
    }
    made: dict[str, Any] = {key: _flat(kind, data.get(key)) for key, kind in parts.items()}
    made["energy_periods"] = tuple(_period(p) for p in data.get("energy_periods", ()))
    made["demand_charges"] = tuple(_demand(d) for d in data.get("demand_charges", ()))
    made["past_peaks"] = tuple(PastPeak(**p) for p in data.get("past_peaks", ()))
    made["holidays"] = tuple(data.get("holidays", ()))
    made["utilisation_hours"] = _utilisation(data.get("utilisation_hours"))
    return Tariff(**{**data, **made})


def _flat(kind: Any, data: Mapping[str, Any] | None) -> Any:
    return None if data is None else kind(**{key: tuple(v) if isinstance(v, list) else v for key, v in data.items()})


def _period(data: Mapping[str, Any]) -> EnergyPeriod:
    return EnergyPeriod(**{**data, "tiers": _tiers(data), "windows": _windows(data)})


def _demand(data: Mapping[str, Any]) -> DemandCharge:
    return DemandCharge(**{**data, "tiers": _tiers(data), "windows": _windows(data), "ratchet": _flat(Ratchet, data["ratchet"])})


def _utilisation(data: Mapping[str, Any] | None) -> UtilisationHours | None:
    if data is None:
        return None
    return UtilisationHours(**{**data, "below": PricePair(**data["below"]), "above": PricePair(**data["above"])})


def _tiers(data: Mapping[str, Any]) -> tuple[Tier, ...]:
    return tuple(Tier(**t) for t in data["tiers"])


def _windows(data: Mapping[str, Any]) -> tuple[Window, ...]:
    return tuple(Window(tuple(w["months"]), tuple(w["days"]), w["from_h"], w["to_h"]) for w in data["windows"])
