"""Utility Rate Database (URDB, version 8) JSON as a tariff file.

Fields: https://openei.org/services/doc/rest/util_rates/?version=8. Read as NREL's PySAM reads them (PySAM.UtilityRateTools): `adj` is part
of the rate, $/day becomes 365/12 of it per month, the lookback raises the demand of every charge to a share of the highest earlier peak of
all hours, where the months of `lookbackmonths` count. `ems tariffs import RATE.json` (or `python -m ems.kpi.bills.urdb RATE.json`)
prints the tariff file.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from ems.errors import DataError

TIER_UNITS = {"kwh": "kwh", "kwh daily": "kwh_per_day", "kwh/kw": "kwh_per_kw", "kwh/kw daily": "kwh_per_kw_day"}
DAYS_PER_MONTH = 365 / 12
STRUCTURES = ("energyratestructure", "demandratestructure", "flatdemandstructure")
DEMAND_UNITS = ("demandrateunit", "flatdemandunit", "demandunits")
# Charges that a tariff file cannot hold as URDB means them: left out in silence the bill would be too low.
NOT_TAKEN = ("coincidentratestructure", "demandreactivepowercharge", "demandratchetpercentage", "fueladjustmentsmonthly")
Schedule = Sequence[Sequence[int]]  # 12 months x 24 hours: number of the period, from 0


def urdb_tariff(rate: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a tariff file for one URDB rate. Raises DataError naming the field that cannot be used."""
    rate = rate["items"][0] if rate.get("items") else rate
    _refuse_what_is_no_rate(rate)
    data: dict[str, Any] = {"name": str(rate.get("name", "URDB rate"))[:100], "energy": "fixed"}
    if "demandwindow" in rate:
        data["demand_interval_min"] = int(_number(rate, "demandwindow"))
    data |= _fixed(rate) | _minimum(rate)
    periods = list(_energy_periods(rate))
    if periods:
        data |= {"energy": "time_of_use", "tier_unit": _tier_unit(rate), "energy_periods": periods}
    ratchet = _ratchet(rate)
    charges = [*_flat_demand(rate), *_windowed_demand(rate)]
    if charges:
        more = {"ratchet": ratchet, "billed_on": "month"} if ratchet else {}
        data["demand_charges"] = [{**charge, **more} for charge in charges]
    return data


def windows(weekday: Schedule, weekend: Schedule, period: int) -> list[dict[str, Any]]:
    """The hours of a period as windows: runs of hours, months with the same run together."""
    months: dict[tuple[str, int, int], list[int]] = {}
    for days, schedule in (("weekdays", weekday), ("weekends", weekend)):
        for month, hours in enumerate(schedule, 1):
            for start, end in _runs(hours, period):
                months.setdefault((days, start, end), []).append(month)
    return [{"months": found, "days": days, "hours": [start, end]} for (days, start, end), found in months.items()]


def _refuse_what_is_no_rate(rate: Mapping[str, Any]) -> None:
    if not any(rate.get(name) for name in STRUCTURES):
        raise DataError(f"expected a rate with one of {', '.join(STRUCTURES)}; found {', '.join(map(str, rate)) or 'nothing'}")
    for name in DEMAND_UNITS:
        if str(rate.get(name) or "kW").lower() != "kw":
            raise DataError(f"{name}: expected the unit kW, not {rate[name]}")
    for name in NOT_TAKEN:
        if _holds_money(rate.get(name)):
            raise DataError(
                f"{name}: a charge that is not taken over; without this field the rest is, and its bill is lower than the true one"
            )


def _holds_money(value: Any) -> bool:
    """True when any of its rates is not 0; units and the ends of tiers are no money."""
    if isinstance(value, Mapping):
        return any(_holds_money(value.get(name)) for name in ("rate", "adj"))
    if isinstance(value, (list, tuple)):
        return any(_holds_money(v) for v in value)
    return bool(value)


def _runs(hours: Sequence[int], period: int) -> Iterator[tuple[int, int]]:
    start = None
    for hour, number in enumerate([*hours, -1]):
        if number == period and start is None:
            start = hour
        elif number != period and start is not None:
            yield start, hour
            start = None


def _energy_periods(rate: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    structure = rate.get("energyratestructure", [])
    if not structure:
        return
    weekday, weekend = _schedule(rate, "energyweekdayschedule", structure), _schedule(rate, "energyweekendschedule", structure)
    for number, entries in enumerate(structure):
        when = windows(weekday, weekend, number)
        if when:
            sell = {"export_price_per_kwh": entries[0]["sell"]} if entries[0].get("sell") else {}
            yield {"name": f"period {number + 1}", **_price(entries, "up_to", "price_per_kwh"), **sell, "when": when}


def _windowed_demand(rate: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    structure = rate.get("demandratestructure", [])
    if not structure:
        return
    weekday, weekend = _schedule(rate, "demandweekdayschedule", structure), _schedule(rate, "demandweekendschedule", structure)
    for number, entries in enumerate(structure):
        when = windows(weekday, weekend, number)
        if when:
            yield {"name": f"demand period {number + 1}", **_demand_price(entries, "demandratestructure"), "when": when}


def _flat_demand(rate: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    structure = rate.get("flatdemandstructure", [])
    if not structure:
        return
    of_month = rate.get("flatdemandmonths", [0] * 12)
    if len(of_month) != 12 or any(n not in range(len(structure)) for n in of_month):
        raise DataError(f"flatdemandmonths: expected 12 numbers of periods of flatdemandstructure, not {of_month}")
    for number, entries in enumerate(structure):
        months = [m for m, n in enumerate(of_month, 1) if n == number]
        if months:
            yield {"name": f"flat demand {number + 1}", **_demand_price(entries, "flatdemandstructure"), "when": [{"months": months}]}


def _price(entries: Sequence[Mapping[str, Any]], end: str, price: str) -> dict[str, Any]:
    """One price, or tiers; `max` of the last tier is no end."""
    prices = [_number(e, "rate", 0.0) + _number(e, "adj", 0.0) for e in entries]
    if len(entries) == 1:
        return {price: prices[0]}
    inner = [{end: _number(e, "max"), price: p} for e, p in zip(entries[:-1], prices[:-1], strict=True)]
    return {"tiers": [*inner, {price: prices[-1]}]}


def _demand_price(entries: Sequence[Mapping[str, Any]], field: str) -> dict[str, Any]:
    units = {str(e.get("unit", "kW")).lower() for e in entries}
    if units != {"kw"}:
        raise DataError(f"{field}: expected the unit kW, not {', '.join(sorted(units))}")
    return _price(entries, "up_to_kw", "price_per_kw_month")


def _tier_unit(rate: Mapping[str, Any]) -> str:
    units = {str(e.get("unit", "kWh")).lower() for entries in rate["energyratestructure"] for e in entries}
    if len(units) != 1 or not units <= set(TIER_UNITS):
        raise DataError(f"energyratestructure: expected one unit of {', '.join(TIER_UNITS)} throughout, not {', '.join(sorted(units))}")
    return TIER_UNITS[units.pop()]


def _schedule(rate: Mapping[str, Any], field: str, structure: Sequence[Any]) -> Schedule:
    table = rate.get(field)
    if not isinstance(table, Sequence) or [len(row) for row in table] != [24] * 12:
        raise DataError(f"{field}: expected 12 months of 24 hours")
    if any(n not in range(len(structure)) for row in table for n in row):
        raise DataError(f"{field}: expected numbers of the {len(structure)} periods of its rate structure, from 0")
    return table


def _fixed(rate: Mapping[str, Any]) -> dict[str, Any]:
    if not rate.get("fixedchargefirstmeter"):
        return {}
    return {"fixed_price_per_month": _per_month(rate, "fixedchargefirstmeter", "fixedchargeunits")}


def _minimum(rate: Mapping[str, Any]) -> dict[str, Any]:
    if not rate.get("mincharge"):
        return {}
    if rate.get("minchargeunits") == "$/year":
        return {"minimum_charge_per_year": _number(rate, "mincharge")}
    return {"minimum_charge_per_month": _per_month(rate, "mincharge", "minchargeunits")}


def _per_month(rate: Mapping[str, Any], field: str, units: str) -> float:
    factor = {"$/month": 1.0, "$/day": DAYS_PER_MONTH, "$/year": 1 / 12}.get(str(rate.get(units, "$/month")))
    if factor is None:
        raise DataError(f"{units}: expected $/month, $/day or $/year, not {rate.get(units)}")
    return _number(rate, field) * factor


def _ratchet(rate: Mapping[str, Any]) -> dict[str, Any] | None:
    share, months = _number(rate, "lookbackpercent", 0.0), int(_number(rate, "lookbackrange", 0.0))
    if not share or not months:
        return None
    of_months = [m for m, counts in enumerate(rate.get("lookbackmonths", [True] * 12), 1) if counts]
    return {"share": float(share), "months": months, "of_months": of_months} if of_months else None


def _number(rate: Mapping[str, Any], field: str, otherwise: float | None = None) -> float:
    value = rate.get(field, otherwise)
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise DataError(f"{field}: expected a number, not {value!r}") from error


def tariff_text(path: Path) -> str:
    """The tariff file, as text, of a rate in a JSON file. Raises DataError in one line when it cannot be read as one."""
    try:
        rate = json.loads(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({error})") from None
    try:
        tariff = urdb_tariff(rate)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataError(f"{path}: not a rate of URDB ({type(error).__name__}: {error})") from None
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    text = io.StringIO()
    YAML().dump(tariff, text)
    return text.getvalue()


def main(argv: list[str]) -> int:
    """Prints the tariff file of a URDB rate; 2 and one line when it cannot be read."""
    try:
        print(tariff_text(Path(argv[0] if argv else "RATE.json")), end="")
    except DataError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
