"""The bill engine: interval data and a tariff in, a bill per local month with its lines out.

Energy is billed by the local month, day and hour its interval starts in; demand on means over the utility's own intervals. A month of
which only a part is metered is charged fixed prices, tiers and minima by that part, and its demand in full.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from decimal import Decimal

from ems.kpi.bills.demand import demand_lines
from ems.kpi.bills.energy import energy_lines
from ems.kpi.bills.lines import FIXED, BillLine, MonthlyBill, line
from ems.kpi.bills.metered import Account, Metered
from ems.kpi.bills.yearly import utilisation_lines
from ems.site.tariff import Tariff
from ems.site.tariff_calendar import month_name

WHOLE = 1.0 - 1e-9


def make_bills(tariff: Tariff, currency: str, time_zone: str, metered: Metered) -> tuple[MonthlyBill, ...]:
    """The bills of all months with data. Raises DataError when the tariff follows a series that the data does not have."""
    account = Account(tariff, time_zone, metered)
    bills: list[MonthlyBill] = []
    for month in account.months:
        lines = [*_fixed(account, month), *energy_lines(account, month), *demand_lines(account, month), *utilisation_lines(account, month)]
        lines += _minimum_of_month(account, month, lines)
        bill = MonthlyBill(month_name(month), currency, account.share(month), tuple(lines))
        bills.append(_with_minimum_of_year(account, month, bill, bills))
    return tuple(bills)


def _fixed(account: Account, month: int) -> Iterator[BillLine]:
    tariff, share = account.tariff, account.share(month)
    if tariff.fixed_price_per_month:
        yield line("fixed", FIXED, share, "month", share * tariff.fixed_price_per_month)
    if tariff.fixed_price_per_day:
        days = share * calendar.monthrange(1970 + month // 12, month % 12 + 1)[1]
        yield line("fixed per day", FIXED, days, "day", days * tariff.fixed_price_per_day)


def _minimum_of_month(account: Account, month: int, lines: list[BillLine]) -> Iterator[BillLine]:
    least = account.tariff.minimum_charge_per_month * account.share(month)
    missing = least - float(sum((found.amount for found in lines), start=Decimal(0)))
    if least and missing > 0.0:
        yield line("up to the minimum of the month", FIXED, 1.0, "month", missing)


def _with_minimum_of_year(account: Account, month: int, bill: MonthlyBill, before: list[MonthlyBill]) -> MonthlyBill:
    """December carries what a whole year misses to its minimum."""
    least = account.tariff.minimum_charge_per_year
    year = [*[b for b in before if b.month[:4] == bill.month[:4]], bill]
    if not least or month % 12 != 11 or len(year) < 12 or any(b.share < WHOLE for b in year):
        return bill
    missing = least - float(sum((b.total for b in year), start=Decimal(0)))
    if missing <= 0.0:
        return bill
    extra = line("up to the minimum of the year", FIXED, 1.0, "year", missing)
    return MonthlyBill(bill.month, bill.currency, bill.share, (*bill.lines, extra))
