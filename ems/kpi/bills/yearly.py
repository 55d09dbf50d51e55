"""Charges settled over a calendar year: the utilisation-hours pair, month by month up to what the year so far amounts to."""

from __future__ import annotations

from collections.abc import Iterator

from ems.kpi.bills.lines import DEMAND, ENERGY, BillLine, line
from ems.kpi.bills.metered import Account
from ems.site.tariff import PricePair, UtilisationHours
from ems.site.tariff_calendar import month_hours

YEAR_MONTHS = 12


def utilisation_lines(account: Account, month: int) -> Iterator[BillLine]:
    """What the year up to this month costs less what the months before were billed; over a whole year, the pair its hours ask for."""
    rule = account.tariff.utilisation_hours
    if rule is None:
        return
    power, energy = _to_date(account, rule, month)
    before_power, before_energy = _to_date(account, rule, month - 1) if month - 1 in _year_so_far(account, month) else (0.0, 0.0)
    peak_kw = max(account.highest_kw(rule.interval_min)[m] for m in _year_so_far(account, month))
    yield line("power by utilisation hours", DEMAND, peak_kw, "kW", power - before_power)
    yield line("energy by utilisation hours", ENERGY, account.import_kwh(month), "kWh", energy - before_energy)


def pair_for(rule: UtilisationHours, hours: float) -> PricePair:
    """The pair of prices for a year's utilisation hours."""
    return rule.above if hours >= rule.threshold_h else rule.below


def _to_date(account: Account, rule: UtilisationHours, month: int) -> tuple[float, float]:
    """Money for power (a twelfth of the year's price per month) and for energy from the year's first month with data to this one."""
    months = _year_so_far(account, month)
    kwh = sum(account.import_kwh(m) for m in months)
    highest = account.highest_kw(rule.interval_min)
    peak_kw = max(highest[m] for m in months)
    covered_h = sum(account.share(m) * month_hours(m, account.time_zone) for m in months)
    year_h = sum(month_hours(month // YEAR_MONTHS * YEAR_MONTHS + k, account.time_zone) for k in range(YEAR_MONTHS))
    pair = pair_for(rule, kwh / peak_kw * year_h / covered_h if peak_kw > 0.0 else 0.0)
    return pair.demand_price_per_kw_year / YEAR_MONTHS * len(months) * peak_kw, pair.energy_price_per_kwh * kwh


def _year_so_far(account: Account, month: int) -> list[int]:
    first = month // YEAR_MONTHS * YEAR_MONTHS
    return [m for m in account.months if first <= m <= month]
