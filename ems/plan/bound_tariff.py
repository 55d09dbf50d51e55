"""A tariff's charges in the bound, each as the bill has it or weaker, so that no bill can be below.

Tiers count at their cheapest, the utilisation-hours pair at the lower of each price; minimum take and ramps, which only ever add, are left
out, as are coincident peaks and carbon, which the bound is not told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from ems.kpi.bills.demand import is_charged_in, ratchet_kw
from ems.plan.linear import Columns, LinearProgram, LinearSolution, Term
from ems.site.model import Site
from ems.site.tariff import DemandCharge, Tariff, Tier, Window
from ems.site.tariff_calendar import LocalTimes, month_number
from ems.site.tariff_prices import price_at

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ChargeColumns:
    """The billed demand of each month of each charge, with its price and the part of it that is free."""

    columns: tuple[tuple[Columns, float, float], ...]
    standing: float = 0.0  # money that is owed whatever is imported

    def money(self, found: LinearSolution) -> float:
        """What the charges cost in a solution, what stands not counted."""
        return float(sum(price * (found.value(c)[0] - free_kw) for c, price, free_kw in self.columns))

    @property
    def free_money(self) -> float:
        """What the program counts for demand that is free."""
        return float(sum(price * free_kw for _, price, free_kw in self.columns))


def least_energy_price(site: Site, starts: Sequence[datetime]) -> Array:
    """What the periods cost in each step at least, with the energy price of the cheaper utilisation pair."""
    cheapest = _cheapest(site.tariff)
    rule = site.tariff.utilisation_hours
    network = 0.0 if rule is None else min(rule.below.energy_price_per_kwh, rule.above.energy_price_per_kwh)
    at_s = np.array([s.timestamp() for s in starts])
    return price_at(cheapest, site.time_zone, at_s)[0] + network


def export_price(site: Site, starts: Sequence[datetime]) -> Array:
    """The export price of each step, a market part not included."""
    return price_at(site.tariff, site.time_zone, np.array([s.timestamp() for s in starts]))[1]


def add_charges(lp: LinearProgram, site: Site, starts: Sequence[datetime], import_kw: Columns, step_h: float) -> ChargeColumns:
    """Every priced peak besides the demand charge of all hours, one per local month with steps in its windows."""
    tariff = site.tariff
    charges = list(tariff.demand_charges)
    found: list[tuple[Columns, float, float]] = []
    standing = 0.0
    for charge in charges:
        found += _monthly(lp, site, starts, import_kw, step_h, charge)
    if tariff.contract_capacity is not None:
        c = tariff.contract_capacity
        as_charge = _as_charge("contract", c.breach_price_per_kw_month, c.interval_min, c.kw)
        monthly = _monthly(lp, site, starts, import_kw, step_h, as_charge)
        found += [(columns, price, c.kw) for columns, price, _ in monthly]
        standing = c.kw * c.price_per_kw_month * len(monthly)
    if tariff.utilisation_hours is not None:
        rule = tariff.utilisation_hours
        least = min(rule.below.demand_price_per_kw_year, rule.above.demand_price_per_kw_year) / 12.0
        found += _monthly(lp, site, starts, import_kw, step_h, _as_charge("utilisation", least, rule.interval_min, 0.0))
    return ChargeColumns(tuple(found), standing)


def _monthly(
    lp: LinearProgram, site: Site, starts: Sequence[datetime], import_kw: Columns, step_h: float, charge: DemandCharge
) -> list[tuple[Columns, float, float]]:
    times = LocalTimes(np.array([s.timestamp() for s in starts]), site.time_zone, site.tariff)
    windows: tuple[Window, ...] = charge.windows if charge.billed_on == "window" else ()
    price = min(t.price for t in charge.tiers)
    past = {month_number(p.month): p.kw for p in site.tariff.past_peaks if p.charge == charge.name}
    found = []
    for month in (int(m) for m in np.unique(times.month_index)):
        if not is_charged_in(charge, month):
            continue
        floor_kw = max(charge.minimum_kw, past.get(month, 0.0), ratchet_kw(charge.ratchet, month, past))
        peak = lp.add(1, price, lower=floor_kw)
        inside = np.flatnonzero(times.within(windows) & (times.month_index == month))
        for steps in _intervals(starts, inside, charge.interval_min, step_h):
            terms: list[Term] = [(import_kw[j : j + 1], -1.0 / len(steps)) for j in steps]
            lp.require([(peak, 1.0), *terms], 0.0, np.inf)
        found.append((peak, price, 0.0))
    return found


def _intervals(starts: Sequence[datetime], inside: NDArray[np.int64], interval_min: int, step_h: float) -> list[list[int]]:
    """The steps of each billing interval that begins inside; the last one of a window may reach beyond it."""
    per_interval = max(1, round(interval_min / 60 / step_h))
    number = [int(s.timestamp()) // (interval_min * 60) for s in starts]
    begins = [i for i in inside.tolist() if i == 0 or number[i] != number[i - 1] or per_interval == 1]
    return [[j for j in range(i, min(i + per_interval, len(starts))) if number[j] == number[i]] for i in begins]


def _as_charge(name: str, price: float, interval_min: int, minimum_kw: float) -> DemandCharge:
    return DemandCharge(name, (Tier(None, price),), interval_min, (), minimum_kw, None, "window")


def _cheapest(tariff: Tariff) -> Tariff:
    periods = tuple(replace(p, tiers=(Tier(None, min(t.price for t in p.tiers)),)) for p in tariff.energy_periods)
    return replace(tariff, energy_periods=periods)
