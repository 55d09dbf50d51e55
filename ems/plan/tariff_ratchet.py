"""What a kW more on a month's peak costs in the months after it, where a ratchet bills them a share of it."""

from __future__ import annotations

from collections.abc import Mapping

from ems.kpi.bills.demand import is_charged_in, ratchet_kw
from ems.site.tariff import DemandCharge

YEAR_MONTHS = 12


def later_price_per_kw(charge: DemandCharge, month: int, kw: float, peaks_kw: Mapping[int, float], expected_kw: float, end: int) -> float:
    """Money that the next kW above a peak of `kw` in `month` adds to the bills of later months before the month `end`; 0 without a ratchet.

    A later month pays share x price where share x kw is above its own peak and its minimum, and no other month sets it a higher floor. Its
    own peak is that of the same month last year, `expected_kw` where none is known in `peaks_kw` (month -> kW). Months count from January
    1970.
    """
    ratchet = charge.ratchet
    if ratchet is None or month % 12 + 1 not in ratchet.of_months:
        return 0.0
    later = range(month + 1, month + ratchet.months + 1)
    own_kw = {m: peaks_kw.get(m - YEAR_MONTHS, expected_kw) for m in later}
    others_kw = {m: peak for m, peak in peaks_kw.items() if m < month} | own_kw
    floor_kw = ratchet.share * kw
    price = next(t.price for t in charge.tiers if t.up_to is None or floor_kw < t.up_to)
    charged = [m for m in later if m < end and m % 12 + 1 in ratchet.in_months and is_charged_in(charge, m)]
    paying = [m for m in charged if floor_kw > max(own_kw[m], charge.minimum_kw) and floor_kw >= ratchet_kw(ratchet, m, others_kw)]
    return ratchet.share * price * len(paying)
