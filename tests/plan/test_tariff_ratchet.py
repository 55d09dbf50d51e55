"""What a kW more costs in the months after it under a ratchet: the year's bills are the judge."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from ems.commitment import Commitment
from ems.kpi.bills.bill import make_bills
from ems.kpi.bills.metered import Metered
from ems.plan.loop import PlanLoop
from ems.plan.tariff_book import TariffBook
from ems.site.load import load_site
from ems.site.model import Site
from ems.site.tariff_calendar import LocalTimes
from tests.plan.given import plan_inputs
from tests.site.conftest import DEMO

NOW = datetime(2024, 9, 20, 17, tzinfo=UTC)
SEPTEMBER = datetime(2024, 9, 1, 5, tzinfo=UTC)
SUMMER = (6, 7, 8, 9)
FACILITY = {"name": "facility demand", "price_per_kw_month": 6.2}
RATCHET = {"share": 0.8, "months": 11, "of_months": list(SUMMER)}


def site_with(charge: dict[str, Any], **tariff: Any) -> Site:
    keys = {"energy": "fixed", "demand_price_per_kw_month": 0.0, "demand_charges": [{**FACILITY, **charge}], **tariff}
    return load_site(DEMO, {"tariff": keys})


def with_share(share: float) -> Site:
    """The shipped tariff, at another share."""
    site = load_site(DEMO, {"tariff": "us-tou-demand-ratchet"})
    charges = [replace(c, ratchet=replace(c.ratchet, share=share)) if c.ratchet else c for c in site.tariff.demand_charges]
    return replace(site, tariff=replace(site.tariff, demand_charges=tuple(charges)))


def year_of_bills(site: Site, september_kw: float, winter_kw: float, summer_kw: float = 1200.0) -> float:
    """Money for the facility's demand from September to the next August; each month has one interval at its peak."""
    n = (SEPTEMBER.replace(year=2025) - SEPTEMBER) // timedelta(minutes=15)
    months = LocalTimes(SEPTEMBER.timestamp() + 900.0 * np.arange(n), site.time_zone, site.tariff).month_index
    kw = np.full(n, 800.0)
    for month in np.unique(months):
        kw[np.flatnonzero(months == month)[8]] = summer_kw if month % 12 + 1 in SUMMER else winter_kw
    kw[8] = september_kw
    bills = make_bills(site.tariff, "USD", site.time_zone, Metered(SEPTEMBER, 15, kw))
    return sum(float(line.amount) for bill in bills for line in bill.lines if line.name == "facility demand")


def counted(site: Site, peaks_kw: dict[int, float], expected_kw: float = 0.0, settle_at: datetime | None = None) -> Commitment:
    """What the plan of a day in September makes of it."""
    book = TariffBook(site)
    book.peaks_kw = {"facility demand": peaks_kw}
    horizon = plan_inputs(site, NOW).horizon
    return next(c for c in book.commitments(NOW, horizon, lambda w, d: expected_kw, settle_at=settle_at) if c.name == "facility demand")


def month(year: int, number: int) -> int:
    return 12 * (year - 1970) + number - 1


def memory(september_kw: float, winter_kw: float) -> dict[int, float]:
    """Peaks of the twelve months before, and of this September so far."""
    summer = {month(2024, m): 1200.0 for m in (6, 7, 8)}
    winter = {month(2023, m): winter_kw for m in (10, 11, 12)} | {month(2024, m): winter_kw for m in range(1, 6)}
    return {**summer, **winter, month(2024, 9): september_kw}


@pytest.mark.parametrize("share", [0.8, 1.0])
@pytest.mark.parametrize("winter_kw", [900.0, 1100.0])
def test_a_kw_more_in_september_costs_what_the_bills_of_the_year_charge_for_it(share: float, winter_kw: float) -> None:
    site = with_share(share)
    more = year_of_bills(site, 1201.0, winter_kw) - year_of_bills(site, 1200.0, winter_kw)
    if share == 1.0:  # of a summer month that is expected as high as this one nobody knows better
        more -= 3 * 6.2
    commitment = counted(site, memory(1200.0, winter_kw))
    assert commitment.baseline_kw == (1200.0,) and commitment.up_price[0] == pytest.approx(more, abs=0.02)


def test_below_what_an_earlier_summer_month_set_a_kw_more_costs_this_month_only() -> None:
    assert counted(with_share(0.8), {**memory(1200.0, 900.0), month(2024, 7): 1250.0}).up_price == (6.2,)


def test_with_no_memory_of_a_lower_month_nothing_is_added() -> None:
    assert counted(with_share(0.8), {}, expected_kw=1100.0).up_price == (6.2,)


def test_a_month_without_a_charge_of_its_own_has_the_price_of_the_months_it_is_remembered_in() -> None:
    """Billed from October to December on the peak of the whole month, with 80 % of September's as a floor."""
    site = site_with({"when": [{"months": [10, 11, 12]}], "billed_on": "month", "ratchet": RATCHET})
    more = year_of_bills(site, 1201.0, 900.0) - year_of_bills(site, 1200.0, 900.0)
    assert more == pytest.approx(3 * 0.8 * 6.2, abs=0.02)
    assert counted(site, memory(1200.0, 900.0)).up_price[0] == pytest.approx(more, abs=0.02)


def test_months_after_the_accounts_close_are_not_paid_for() -> None:
    """A replay that ends with November bills October and November."""
    end = datetime(2024, 12, 1, 6, tzinfo=UTC)
    price = counted(with_share(0.8), memory(1200.0, 900.0), settle_at=end).up_price[0]
    assert price == pytest.approx(6.2 * (1.0 + 2 * 0.8))


def test_beside_a_ratchet_a_minimum_bill_is_left_out() -> None:
    """The price of a kW holds what later months pay: this month's bill is not the plan's."""
    assert PlanLoop(site_with({}, minimum_charge_per_month=5e4)).money is not None
    assert PlanLoop(site_with({"ratchet": RATCHET}, minimum_charge_per_month=5e4)).money is None
