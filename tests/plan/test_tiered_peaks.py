"""Demand charges in tiers: what a plan pays for a peak is what the bill engine adds for it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from ems.commitment import Commitment, Per
from ems.kpi.bills.bill import make_bills
from ems.kpi.bills.metered import Metered
from ems.plan.commitments import commitment_cost
from ems.plan.minimum_bill import MonthMoney
from ems.plan.plan import Plan
from ems.plan.tariff import MINIMUM_BILL, NEXT, peak_names
from ems.plan.tariff_book import TariffBook
from ems.site.load import load_site
from ems.site.model import Site
from tests.plan.given import highest_kw, plan_inputs, tight_plan
from tests.site.conftest import DEMO

AUGUST = datetime(2024, 8, 1, 5, tzinfo=UTC)  # midnight in Chicago
NOW = datetime(2024, 8, 19, 17, tzinfo=UTC)
FREE_KW = 950.0
RISING = [{"up_to_kw": 1000, "price_per_kw_month": 0.0}, {"price_per_kw_month": 20.0}]
THREE = [{"up_to_kw": 500, "price_per_kw_month": 2.0}, {"up_to_kw": 1000, "price_per_kw_month": 5.0}, {"price_per_kw_month": 20.0}]
HUMP = [{"up_to_kw": 500, "price_per_kw_month": 0.0}, {"up_to_kw": 1000, "price_per_kw_month": 20.0}, {"price_per_kw_month": 15.0}]
FALLING = [{"up_to_kw": 1000, "price_per_kw_month": 20.0}, {"price_per_kw_month": 5.0}]


def site_with(charge: dict[str, Any], **tariff: Any) -> Site:
    keys = {"energy": "fixed", "energy_price_per_kwh": 0.08, "demand_price_per_kw_month": 0.0, **tariff}
    keys["demand_charges"] = [{"name": "facility", **charge}]
    return load_site(DEMO, {"point_of_connection": {"import_limit_kw": 1450.0}, "tariff": keys})


def peaks_of(site: Site, free_kw: float) -> list[Commitment]:
    """The peaks of the running month."""
    horizon = plan_inputs(site, NOW).horizon
    priced = TariffBook(site).commitments(NOW, horizon, lambda windows, days_left: free_kw)
    assert {c.name for c in priced} == set(peak_names(site.tariff))  # the terms are compiled once: the same for every peak
    return [c for c in priced if not c.name.endswith(NEXT)]


def billed(site: Site, peak_kw: float) -> float:
    """Power on the bill of a month with this peak."""
    kw = np.full(744 * 4, 100.0)
    kw[1000] = peak_kw
    return float(make_bills(site.tariff, "USD", site.time_zone, Metered(AUGUST, 15, kw))[0].part("demand"))


def plan_of(site: Site, left: float | None = None) -> Plan:
    horizon = plan_inputs(site, NOW).horizon
    priced = TariffBook(site).commitments(NOW, horizon, lambda windows, days_left: FREE_KW)
    return tight_plan(site, NOW, np.full(horizon.n, 0.08), priced, left)


@pytest.mark.parametrize("tiers", [RISING, THREE])
@pytest.mark.parametrize("free_kw", [300.0, 500.0, 950.0, 1000.0, 1200.0])
def test_in_rising_tiers_every_kw_above_what_is_free_costs_what_the_bill_adds(tiers: list[dict[str, float]], free_kw: float) -> None:
    site = site_with({"tiers": tiers})
    peaks = peaks_of(site, free_kw)
    for kw in (free_kw, free_kw + 1.0, 1100.0, 1400.0):
        if kw >= free_kw:
            paid = sum(commitment_cost(c, np.ones(1), np.array([kw])) for c in peaks)
            assert paid == pytest.approx(billed(site, kw) - billed(site, free_kw), abs=0.01)


def test_a_peak_is_not_lent_the_cheaper_tier_it_may_come_to() -> None:
    (falling,) = peaks_of(site_with({"tiers": FALLING}), FREE_KW)
    assert falling.up_price == (20.0,)
    assert [(c.baseline_kw[0], c.up_price[0]) for c in peaks_of(site_with({"tiers": HUMP}), 300.0)] == [
        (300.0, 0.0),
        (500.0, 20.0),
        (1000.0, 0.0),
    ]


def test_a_plan_in_rising_tiers_is_that_of_the_same_price_above_a_minimum() -> None:
    """The first thousand kW are free in one, paid for whatever happens in the other."""
    plan, same = plan_of(site_with({"tiers": RISING})), plan_of(site_with({"price_per_kw_month": 20.0, "minimum_kw": 1000}))
    assert highest_kw(plan) == pytest.approx(highest_kw(same), abs=0.5) and highest_kw(plan) < 1300.0
    billed_more = billed(site_with({"tiers": RISING}), highest_kw(plan))
    assert plan.cost["facility above 1,000 kW"] == pytest.approx(billed_more, abs=5.0) and plan.cost["facility"] == 0.0
    assert set(plan.window_free_kw) == {1000.0} and all(goal == pytest.approx(highest_kw(plan), abs=0.5) for goal in plan.window_goal_kw)
    assert any("lets facility above 1,000 kW rise from 1,000" in line for line in plan.lines)


def test_the_minimum_bill_counts_a_peak_at_the_tiers_it_fills() -> None:
    minimum = 100_000.0
    site = site_with({"tiers": THREE}, minimum_charge_per_month=minimum)
    money, horizon = MonthMoney(site), plan_inputs(site, NOW).horizon
    money.observe(NOW.replace(day=18), 86400.0, 0.0, 0.08)
    assert money.left(horizon, peaks_of(site, FREE_KW)) == pytest.approx(minimum - billed(site, FREE_KW))
    plan = plan_of(site, left=50.0)  # a tier's money counts as part of the bill: above the minimum the plan is as without one
    assert plan.cost[MINIMUM_BILL] == 0.0 and highest_kw(plan) == pytest.approx(highest_kw(plan_of(site)), abs=0.5)
    assert all(c.per is Per.PEAK for c in peaks_of(site, FREE_KW))
