from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import cvxpy as cp
import numpy as np
import pytest

from ems.commitment import Commitment, Per
from ems.plan.commitments import BillingIntervals, PeakTerm, StepTerm, commitment_cost
from ems.plan.tariff import tariff_commitments
from ems.timegrid import TimeGrid, interval_weights
from tests.plan.given import demo_site, plan_inputs

HOURS = np.array([0.5, 1.0, 1.0])


def test_a_negative_spread_is_refused_at_construction() -> None:
    with pytest.raises(ValueError, match="not convex"):
        Commitment("energy", Per.STEP, (0.0,), (0.05,), (0.06,))


def test_a_step_commitment_costs_the_lower_price_below_and_the_higher_above_its_baseline() -> None:
    promise = Commitment("capacity", Per.STEP, (100.0,) * 3, (0.5,) * 3, (0.1,) * 3)
    power = np.array([80.0, 100.0, 150.0])
    expected = 0.5 * 0.1 * 80 + 0.1 * 100 + 0.1 * 150 + 0.4 * 50
    assert commitment_cost(promise, HOURS, power) == pytest.approx(expected)
    term = StepTerm(cp.Constant(power), is_one_sided=False)
    term.update(promise, HOURS)
    cp.Problem(cp.Minimize(term.cost), list(term.constraints.values())).solve(solver=cp.HIGHS, warm_start=False)
    assert term.cost.value == pytest.approx(expected)


def test_export_is_paid_its_own_price_and_import_the_other() -> None:
    site = demo_site()
    inputs = replace(plan_inputs(site), export_price_per_kwh=np.full(82, 0.01))
    energy = tariff_commitments(site.tariff, inputs)[0]
    down, up = np.array(energy.down_price), np.array(energy.up_price)
    assert (down <= up).all() and (down[up > 0.01] == 0.01).all()


def test_the_demand_baseline_is_the_higher_of_seen_and_expected_peak() -> None:
    site = demo_site()
    inputs = plan_inputs(site, peak_so_far_kw=900.0)
    inputs = replace(inputs, meter=replace(inputs.meter, expected_peak_kw=1000.0))
    demand = tariff_commitments(site.tariff, inputs)[1]
    assert demand.baseline_kw == (1000.0,) and demand.up_price == (12.0,)
    assert commitment_cost(demand, HOURS, np.array([950.0])) == 0.0
    assert commitment_cost(demand, HOURS, np.array([950.0, 1100.0])) == pytest.approx(1200.0)


def peak_of(now: datetime, import_kw: np.ndarray, metered_kwh: float) -> float:
    """The peak term's view of a course of import."""
    grid = TimeGrid(1)
    intervals = BillingIntervals(cp.Constant(import_kw), 15)
    term = PeakTerm(intervals)
    weights = interval_weights(grid.at(now), 900)
    intervals.update(weights, metered_kwh)
    everything = np.ones(len(weights), bool), np.ones(grid.n - intervals.columns, bool)
    term.update(Commitment("demand", Per.PEAK, (0.0,), (12.0,), (0.0,)), *everything)
    cp.Problem(cp.Minimize(term.cost), list(term.constraints.values())).solve(solver=cp.HIGHS, warm_start=False)
    return float(term.reach_kw.value)


def test_the_peak_is_the_mean_of_the_quarter_of_an_hour_with_what_is_metered_already() -> None:
    now = datetime(2024, 8, 19, 5, 10, tzinfo=UTC)
    import_kw = np.full(TimeGrid(1).n, 100.0)
    import_kw[0] = 400.0  # the last 5 minutes of a quarter
    assert peak_of(now, import_kw, metered_kwh=0.0) == pytest.approx(400 / 3)
    assert peak_of(now, import_kw, metered_kwh=50.0) == pytest.approx(400 / 3 + 200)
    import_kw[1:4] = (0.0, 300.0, 300.0)  # the next quarter
    assert peak_of(now, import_kw, metered_kwh=0.0) == pytest.approx(200.0)
    import_kw[30] = 500.0  # a step of a whole quarter
    assert peak_of(now, import_kw, metered_kwh=0.0) == pytest.approx(500.0)
