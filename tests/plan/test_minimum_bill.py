"""A bill that is never less than a minimum: below it nothing that is saved is worth anything, above it everything is as without one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ems.kpi.bills.bill import make_bills
from ems.kpi.bills.metered import Metered
from ems.messages import MinuteFrame
from ems.plan.loop import PlanLoop
from ems.plan.minimum_bill import MinimumBillTerm
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
    assert list(minimum_faults(site.tariff, inputs, plan)) == []
    wrong = replace(plan, cost={**plan.cost, MINIMUM_BILL: 50.0})
    assert [fault.split(" costs")[0] for fault in minimum_faults(site.tariff, inputs, wrong)] == [MINIMUM_BILL]


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


def test_before_a_day_is_metered_the_bill_counts_as_above_its_minimum() -> None:
    assert loop_after(site_with(MINIMUM), 23, 1000.0).make_inputs(MONDAY, state()).minimum_left is None


def test_beside_charges_that_are_not_weighed_the_minimum_is_left_out() -> None:
    site = site_with(MINIMUM, minimum_take={"kwh_per_month": 1e5, "price_per_kwh": 0.05})
    assert PlanLoop(site).money is None and Planner(site).problem.minimum_bill is None
