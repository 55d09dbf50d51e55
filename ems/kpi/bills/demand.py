"""Power on the bill: demand charges with windows, tiers and ratchets, coincident peaks, contract capacity, ramps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ems.kpi.bills.lines import DEMAND, BillLine, line
from ems.kpi.bills.metered import Account, highest
from ems.site.tariff import BASIC_CHARGE, DemandCharge, Ratchet, Tariff, Tier
from ems.site.tariff_calendar import month_number, table_of


def charges_of(tariff: Tariff) -> tuple[DemandCharge, ...]:
    """All demand charges, the one of `demand_price_per_kw_month` first."""
    price = tariff.demand_price_per_kw_month
    basic = DemandCharge(BASIC_CHARGE, (Tier(None, price),), tariff.demand_interval_min, (), 0.0, None, "window")
    return (*((basic,) if price > 0.0 else ()), *tariff.demand_charges)


def demand_lines(account: Account, month: int) -> Iterator[BillLine]:
    """Every line of a month that is paid for power."""
    for charge in charges_of(account.tariff):
        if is_charged_in(charge, month):
            kw = billed_kw(charge, month, peaks_of(account, charge))
            yield line(charge.name, DEMAND, kw, "kW", tiered(kw, charge.tiers))
    yield from _contract(account, month)
    yield from _coincident(account, month)
    yield from _ramp(account, month)


def peaks_of(account: Account, charge: DemandCharge) -> dict[int, float]:
    """The highest mean of each month in the charge's hours, with the months before the data."""
    times, kw = account.means(charge.interval_min)
    inside = times.within(charge.windows if charge.billed_on == "window" else ())
    past = {month_number(p.month): p.kw for p in account.tariff.past_peaks if p.charge == charge.name}
    found = highest(times.month_index[inside], kw[inside])
    return {m: max(past.get(m, 0.0), found.get(m, 0.0)) for m in {*past, *found}}


def is_charged_in(charge: DemandCharge, month: int) -> bool:
    """True when the month has an hour of the charge's windows."""
    return not charge.windows or bool(table_of(charge.windows)[month % 12].any())


def billed_kw(charge: DemandCharge, month: int, peaks_kw: Mapping[int, float]) -> float:
    """The demand a month is billed for: its own peak, the minimum, or the share of an earlier one."""
    return max(peaks_kw.get(month, 0.0), charge.minimum_kw, ratchet_kw(charge.ratchet, month, peaks_kw))


def ratchet_kw(ratchet: Ratchet | None, month: int, peaks_kw: Mapping[int, float]) -> float:
    """The floor that earlier months set; 0 without one."""
    if ratchet is None or month % 12 + 1 not in ratchet.in_months:
        return 0.0
    earlier = [m for m in range(month - ratchet.months, month) if m % 12 + 1 in ratchet.of_months]
    return ratchet.share * max((peaks_kw.get(m, 0.0) for m in earlier), default=0.0)


def tiered(kw: float, tiers: tuple[Tier, ...]) -> float:
    """Money for a demand whose parts fall into tiers."""
    money, below = 0.0, 0.0
    for tier in tiers:
        end = kw if tier.up_to is None else min(kw, tier.up_to)
        money += max(0.0, end - below) * tier.price
        below = max(below, end)
    return money


def _contract(account: Account, month: int) -> Iterator[BillLine]:
    contract = account.tariff.contract_capacity
    if contract is None:
        return
    over_kw = max(0.0, account.highest_kw(contract.interval_min)[month] - contract.kw)
    yield line("contract capacity", DEMAND, contract.kw, "kW", contract.kw * contract.price_per_kw_month)
    yield line("breach of contract capacity", DEMAND, over_kw, "kW", over_kw * contract.breach_price_per_kw_month)


def _coincident(account: Account, month: int) -> Iterator[BillLine]:
    """The mean import of each of the system's peak intervals, at its part of the yearly price, in the month it falls in."""
    rule = account.tariff.coincident_peak
    if rule is None:
        return
    count = rule.per_year or rule.per_month * len(rule.months)
    times, kw = account.means(rule.interval_min)
    hit = np.isin(times.at_s, np.array(account.metered.coincident_s)) & (times.month_index == month)
    if hit.any():
        yield line(f"coincident peak ({rule.rule})", DEMAND, kw[hit].sum(), "kW", kw[hit].sum() * rule.price_per_kw_year / count)


def _ramp(account: Account, month: int) -> Iterator[BillLine]:
    ramp = account.tariff.ramp
    if ramp is None:
        return
    times, kw = account.means(ramp.interval_min)
    minutes = max(ramp.interval_min, account.metered.interval_min)
    over_kw = np.maximum(0.0, np.abs(np.diff(kw, prepend=kw[:1])) - ramp.free_kw_per_min * minutes)
    beyond = float(over_kw[times.month_index == month].sum())
    yield line("ramps", DEMAND, beyond, "kW", beyond * ramp.price_per_kw)
