"""A bill that is never less than a minimum: below it nothing that is saved is worth anything, above it everything is as without one."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ems.commitment import Commitment, Per
from ems.horizon import Horizon
from ems.kpi.bills.bill import make_bills
from ems.kpi.bills.metered import Metered
from ems.messages import MinuteFrame
from ems.plan.loop import PlanLoop
from ems.plan.minimum_bill import YEAR_DOUBT, MinimumBillTerm, MonthMoney
from ems.plan.plan import Plan
from ems.plan.planner import Planner
from ems.plan.tariff import MINIMUM_BILL
from ems.plan.tariff_verify import minimum_faults
from ems.site.load import load_site
from ems.site.model import Site
from tests.plan.given import MONDAY, plan_inputs
from tests.plan.test_loop import state
from tests.site.conftest import DEMO

MINIMUM = 1e6  # far above any month of the demo site


def site_with(minimum: float, **tariff: Any) -> Site:
    keys = {
        "energy": "fixed",
        "energy_price_per_kwh": 0.1,
        "demand_price_per_kw_month": 12.0,
        "minimum_charge_per_month": minimum,
        **tariff,
    }
    return load_site(DEMO, {"point_of_connection": {"import_limit_kw": 1370.0}, "tariff": keys})


def plan_of(site: Site, left: float | None) -> Plan:
    """Verified, at a price that is dear for two hours."""
    inputs = plan_inputs(site)
    dear = (np.arange(inputs.horizon.n) > 40) * 0.2
    return Planner(site).plan(replace(inputs, import_price_per_kwh=0.1 + dear, minimum_left=left))


def billed(plan: Plan) -> float:
    return plan.cost["energy"] + plan.cost["demand"]


def test_below_the_minimum_no_peak_is_shaved_and_no_hour_is_dearer_than_another() -> None:
    plan, without = plan_of(site_with(MINIMUM), left=MINIMUM), plan_of(site_with(0.0), left=None)
    assert plan.peak_kw > without.peak_kw + 30.0
    assert plan.cost[MINIMUM_BILL] == pytest.approx(0.999 * (MINIMUM - billed(plan)))
    assert float(np.median(plan.marginal_price_per_kwh)) < 0.01 < 0.09 < float(np.median(without.marginal_price_per_kwh))
    assert any("under its minimum" in line for line in plan.lines)


@pytest.mark.parametrize("left", [None, 10.0])
def test_above_the_minimum_the_plan_is_that_of_a_tariff_without_one(left: float | None) -> None:
    plan, without = plan_of(site_with(1.0), left), plan_of(site_with(0.0), None)
    assert plan.cost[MINIMUM_BILL] == 0.0 and plan.objective == pytest.approx(without.objective, rel=1e-6)
    assert plan.peak_kw == pytest.approx(without.peak_kw, abs=0.1) and MINIMUM_BILL not in without.cost


def test_a_plan_that_calls_its_bill_below_the_minimum_when_it_is_not_does_not_stand_its_check() -> None:
    site = site_with(MINIMUM)
    plan, inputs = plan_of(site, left=1.0), replace(plan_inputs(site), minimum_left=1.0)
    assert list(minimum_faults(inputs, plan)) == []
    wrong = replace(plan, cost={**plan.cost, MINIMUM_BILL: 50.0})
    assert [fault.split(" costs")[0] for fault in minimum_faults(inputs, wrong)] == [MINIMUM_BILL]


@settings(max_examples=30, deadline=None)
@given(st.floats(-100, 1000), st.one_of(st.none(), st.floats(-500, 2000)))
def test_the_term_adds_what_is_missing_and_nothing_else(bill: float, left: float | None) -> None:
    term = MinimumBillTerm(cp.Constant(bill))
    term.update(left)
    cp.Problem(cp.Minimize(term.cost), list(term.constraints.values())).solve(solver=cp.HIGHS, warm_start=False)
    missing = 0.0 if left is None else max(0.0, left - bill)
    assert float(term.cost.value) == pytest.approx(0.999 * missing, abs=1e-5)


def loop_after(site: Site, hours: int, kw: float) -> PlanLoop:
    loop = PlanLoop(site)
    for minute in range(60 * hours):
        loop.observe(MinuteFrame(MONDAY - timedelta(minutes=60 * hours - minute), kw, {}, {}, {}, {}, None))
    return loop


def test_what_is_left_of_the_minimum_is_what_the_bill_of_the_rest_misses() -> None:
    """The month at its mean outside the horizon, the bill engine's own minimum line beside it."""
    site = site_with(100_000.0, fixed_price_per_month=420.0)
    inputs = loop_after(site, 25, 1000.0).make_inputs(MONDAY, state())
    peak_kw = max(inputs.meter.peak_so_far_kw, inputs.meter.expected_peak_kw)
    horizon_kwh = 1000.0 * sum(inputs.horizon.duration_h)
    kw = np.full(744 * 4, 1000.0)
    kw[0] = peak_kw
    august = MONDAY.replace(day=1)
    (bill,) = make_bills(site.tariff, "USD", site.time_zone, Metered(august, 15, kw))
    missing = next(float(line.amount) for line in bill.lines if line.name == "up to the minimum of the month")
    assert inputs.minimum_left == pytest.approx(missing + 0.1 * horizon_kwh, abs=0.1 * 0.25 * (peak_kw - 1000.0) + 0.01)


YEAR, YEAR_MINIMUM = 2023, 1_400_000.0


def year_kw(month: int) -> float:
    return 700.0 + 20.0 * min(month, 10)  # December as November


def metered_until(site: Site, until: datetime) -> MonthMoney:
    """A year metered by the hour; each month ends with a plan that knows its peak."""
    zone, money = ZoneInfo(site.time_zone), MonthMoney(site)
    at = datetime(YEAR, 1, 1, tzinfo=zone).astimezone(UTC)
    while at < until:
        money.observe(at, 3600.0, year_kw(at.astimezone(zone).month - 1), 0.1)
        at += timedelta(hours=1)
        if at.astimezone(zone).day == 28 and at.astimezone(zone).hour == 12:
            money.left(Horizon((at,), (1.0,)), [peak(site, at)])
    return money


def peak(site: Site, at: datetime) -> Commitment:
    kw = year_kw(at.astimezone(ZoneInfo(site.time_zone)).month - 1)
    return Commitment("demand", Per.PEAK, (kw,), (12.0,), (0.0,), 15)


def missing_of_the_year(site: Site) -> float:
    """What the bill engine says."""
    zone = ZoneInfo(site.time_zone)
    start, end = (datetime(YEAR + k, 1, 1, tzinfo=zone).astimezone(UTC) for k in (0, 1))
    hours = [start + timedelta(hours=k) for k in range(round((end - start) / timedelta(hours=1)))]
    kw = np.repeat([year_kw(at.astimezone(zone).month - 1) for at in hours], 4)
    bills = make_bills(site.tariff, "USD", site.time_zone, Metered(start, 15, kw))
    return next(float(line.amount) for line in bills[-1].lines if line.name == "up to the minimum of the year")


def test_what_is_left_of_the_years_minimum_is_what_the_bill_engine_finds_missing_in_december() -> None:
    site = site_with(0.0, minimum_charge_per_year=YEAR_MINIMUM, fixed_price_per_month=420.0, fixed_price_per_day=3.0)
    now = datetime(YEAR, 11, 20, 6, tzinfo=UTC)
    money = metered_until(site, now)
    horizon = Horizon((now,), (48.0,))
    doubt = YEAR_DOUBT * YEAR_MINIMUM * 2 / 12  # of November and December
    left = money.left(horizon, [peak(site, now)])
    assert left == pytest.approx(missing_of_the_year(site) + 48.0 * 0.1 * year_kw(10) - doubt, abs=1.0)
    again = MonthMoney(site)
    again.remember(json.loads(json.dumps(money.memory())))
    assert again.left(horizon, [peak(site, now)]) == left
    for wrong in ({"bills": {"640": float("nan")}}, {"mean_per_h": float("inf")}, {"bills": {"x": 1.0}}):
        with pytest.raises(ValueError):
            again.remember({**money.memory(), **wrong})
    assert again.left(horizon, [peak(site, now)]) == left


def test_the_year_is_known_on_the_first_day_of_a_month_and_the_month_is_not() -> None:
    now = datetime(YEAR, 3, 1, 10, tzinfo=UTC)
    horizon = Horizon((now,), (48.0,))
    of_year, of_month = (site_with(*m) for m in ((0.0,), (MINIMUM,)))
    of_year = replace(of_year, tariff=replace(of_year.tariff, minimum_charge_per_year=12 * MINIMUM))
    year = metered_until(of_year, now).left(horizon, [peak(of_year, now)])
    assert year is not None and year > MINIMUM
    assert metered_until(of_month, now).left(horizon, [peak(of_month, now)]) is None


def test_a_month_at_its_own_minimum_pays_that_towards_the_years() -> None:
    site = site_with(200_000.0, minimum_charge_per_year=2_400_000.0)
    now = datetime(YEAR, 11, 20, 6, tzinfo=UTC)
    left = metered_until(site, now).left(Horizon((now,), (48.0,)), [peak(site, now)])
    alone = site_with(200_000.0)
    assert left == metered_until(alone, now).left(Horizon((now,), (48.0,)), [peak(alone, now)])  # the year adds nothing


@pytest.mark.parametrize(("minimum", "is_below"), [(1e7, True), (1000.0, False)])
def test_a_year_below_its_minimum_is_planned_as_such_from_metered_minutes(minimum: float, is_below: bool) -> None:
    site = site_with(0.0, minimum_charge_per_year=minimum)
    loop = loop_after(site, 25, 1000.0)
    plan = loop.plan(MONDAY, state())
    assert (plan.cost[MINIMUM_BILL] > 0.0) is is_below
    assert any("under its minimum" in line for line in plan.lines) is is_below


def test_before_a_day_is_metered_the_bill_counts_as_above_its_minimum() -> None:
    assert loop_after(site_with(MINIMUM), 23, 1000.0).make_inputs(MONDAY, state()).minimum_left is None


def test_beside_charges_that_are_not_weighed_the_minimum_is_left_out() -> None:
    site = site_with(MINIMUM, minimum_take={"kwh_per_month": 1e5, "price_per_kwh": 0.05})
    assert PlanLoop(site).money is None and Planner(site).problem.minimum_bill is None


def test_a_bill_above_its_minimum_by_its_first_tier_is_not_taken_for_one_below() -> None:
    """The bill engine's month has no minimum line; the last tier's price on nearly every kWh would leave some 13,000 of it."""
    tiers = [{"up_to": 500_000.0, "price_per_kwh": 0.12}, {"price_per_kwh": 0.01}]
    period = {"name": "all", "rest": True, "tiers": tiers}
    site = site_with(50_000.0, energy="time_of_use", energy_price_per_kwh=0.0, demand_price_per_kw_month=10.0, energy_periods=[period])
    (bill,) = make_bills(site.tariff, "USD", site.time_zone, Metered(MONDAY.replace(day=1), 15, np.full(744 * 4, 950.0)))
    assert bill.total > 65_000 and all(line.name != "up to the minimum of the month" for line in bill.lines)
    left = loop_after(site, 96, 950.0).make_inputs(MONDAY, state()).minimum_left
    assert left is None or left <= 0.0
