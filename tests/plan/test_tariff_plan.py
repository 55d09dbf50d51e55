"""Charges of a tariff in the plan of the demo site: what they cost, what they change, what is free."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ems.commitment import Commitment, Per
from ems.errors import InvariantBroken, PlanInfeasible
from ems.plan.commitments import ChangeTerm, TotalTerm, commitment_cost
from ems.plan.inputs import PlanInputs
from ems.plan.plan import Plan, decode_plan, encode_plan
from ems.plan.planner import Planner
from ems.plan.tariff_book import TariffBook
from ems.plan.tariff_terms import group_masks
from ems.plan.tariff_verify import charge_faults
from ems.plan.verify import verify
from ems.site.load import load_site
from ems.site.model import Site
from ems.site.tariff_prices import step_prices
from ems.timegrid import interval_columns, interval_rows
from tests.plan.given import MONDAY, plan_inputs
from tests.site.conftest import DEMO

NOON = MONDAY + timedelta(hours=12, minutes=7)  # 12:07 in Chicago on a Monday in August
WINDOW = [{"months": [6, 7, 8, 9], "days": "weekdays", "hours": [14, 20]}]
PEAK = {"name": "peak", "price_per_kw_month": 12.0, "when": WINDOW}


def site_with(**tariff: Any) -> Site:
    keys = {"energy": "fixed", "energy_price_per_kwh": 0.05, "demand_price_per_kw_month": 0.0, **tariff}
    return load_site(DEMO, {"point_of_connection": {"import_limit_kw": 1370.0}, "tariff": keys})


def inputs_for(site: Site, now: datetime = NOON, free_kw: float = 900.0, book: TariffBook | None = None) -> PlanInputs:
    """As the plan loop puts them together."""
    given = plan_inputs(site, now)
    h = given.horizon
    period, export = step_prices(site.tariff, site.time_zone, h.starts, h.duration_h)
    return replace(
        given,
        import_price_per_kwh=period + site.tariff.energy_price_per_kwh,
        export_price_per_kwh=export,
        commitments=(book or TariffBook(site)).commitments(now, h, lambda windows, days_left: free_kw, np.full(h.n, 400.0)),
    )


def plan_of(site: Site, inputs: PlanInputs) -> Plan:
    plan = Planner(site).plan(inputs)
    assert verify(site, inputs, plan) == []
    return plan


def local_hours(inputs: PlanInputs) -> np.ndarray:
    return np.array([((s - timedelta(hours=5)).hour + s.minute / 60) for s in inputs.horizon.starts])


def highest_kw(plan: Plan, inside: np.ndarray) -> float:
    """The highest mean of the steps of at least a quarter of an hour."""
    whole = np.array(plan.duration_h) >= 0.25 - 1e-9
    return float(np.array(plan.import_kw)[inside & whole].max())


def steep_kw(plan: Plan, free_kw_per_min: float) -> float:
    """kW by which the steps differ beyond what is free."""
    minutes = 30.0 * (np.array(plan.duration_h)[1:] + np.array(plan.duration_h)[:-1])
    return float(np.maximum(0.0, np.abs(np.diff(plan.import_kw)) - free_kw_per_min * minutes).sum())


def test_a_demand_window_is_shaved_and_the_hours_beside_it_are_not() -> None:
    free, priced = site_with(), site_with(demand_charges=[PEAK])
    without, plan = plan_of(free, inputs_for(free)), plan_of(priced, inputs_for(priced))
    inputs = inputs_for(priced)
    inside = (local_hours(inputs) >= 14) & (local_hours(inputs) < 20)
    assert highest_kw(plan, inside) < highest_kw(without, inside) - 50.0
    assert highest_kw(plan, ~inside) > highest_kw(plan, inside) + 20.0
    assert plan.cost["peak"] == pytest.approx(12.0 * (highest_kw(plan, inside) - 900.0), rel=0.02)


def test_the_goal_of_a_window_stands_in_its_hours_only_and_tells_itself() -> None:
    site = site_with(demand_charges=[PEAK])
    inputs = inputs_for(site, free_kw=600.0)
    plan, hour = plan_of(site, inputs), local_hours(inputs)
    goals = [goal for goal, h in zip(plan.window_goal_kw, hour.tolist(), strict=True) if 14 <= h < 20]
    assert all(goal == pytest.approx(600.0 + plan.cost["peak"] / 12.0, abs=0.01) for goal in goals)
    assert {goal for goal, h in zip(plan.window_goal_kw, hour.tolist(), strict=True) if h < 13 or h >= 20} == {None}
    assert "demand charge (peak)" in plan.binding and any("lets peak rise from 600" in line for line in plan.lines)
    assert decode_plan(json.loads(json.dumps(encode_plan(plan)))) == plan


def test_what_a_ratchet_bills_anyway_is_free() -> None:
    ratchet = {"share": 0.8, "months": 11}
    site = site_with(demand_charges=[{**PEAK, "ratchet": ratchet}], past_peaks_kw={"2024-07": {"peak": 1720.0}})
    inputs = inputs_for(site)
    assert next(c for c in inputs.commitments if c.name == "peak").baseline_kw == (pytest.approx(1376.0),)
    plan, without = plan_of(site, inputs), plan_of(site_with(), inputs_for(site_with()))
    assert plan.cost["peak"] == 0.0 and plan.objective == pytest.approx(without.objective, rel=1e-6)


def test_a_minimum_demand_is_free_as_well() -> None:
    site = site_with(demand_charges=[{**PEAK, "minimum_kw": 1200.0}])
    assert next(c for c in inputs_for(site).commitments if c.name == "peak").baseline_kw == (1200.0,)


def test_two_windows_have_peaks_of_their_own() -> None:
    evening = {"name": "evening", "price_per_kw_month": 4.0, "when": [{"hours": [20, 23]}], "interval_min": 30}
    site = site_with(demand_charges=[PEAK, evening])
    inputs = inputs_for(site, free_kw=0.0)
    plan, hour = plan_of(site, inputs), local_hours(inputs)
    for name, price, low, high in (("peak", 12.0, 14, 20), ("evening", 4.0, 20, 23)):
        assert plan.cost[name] == pytest.approx(price * highest_kw(plan, (hour >= low) & (hour < high)), rel=0.02)


def test_time_of_use_moves_charging_out_of_the_dear_hours() -> None:
    periods = [{"name": "dear", "price_per_kwh": 0.2, "when": WINDOW}, {"name": "cheap", "price_per_kwh": 0.0, "rest": True}]
    site = site_with(energy="time_of_use", energy_periods=periods)
    inputs = inputs_for(site)
    hour, plan = local_hours(inputs), plan_of(site, inputs)
    battery = np.array(plan.power_kw["bess-1"])
    dear = (hour >= 14) & (hour < 20)
    assert np.allclose(inputs.import_price_per_kwh[dear], 0.25) and np.allclose(
        inputs.import_price_per_kwh[(hour < 13) | (hour >= 21)], 0.05
    )
    assert battery[dear].max() < 1.0 and battery[dear].min() < -50.0


def test_a_contract_capacity_is_defended_at_its_own_height() -> None:
    site = site_with(contract_capacity={"kw": 1150.0, "breach_price_per_kw_month": 20.0})
    plan, without = plan_of(site, inputs_for(site)), plan_of(site_with(), inputs_for(site_with()))
    everywhere = np.ones(len(plan.import_kw), bool)
    assert highest_kw(without, everywhere) > 1250.0
    assert highest_kw(plan, everywhere) < highest_kw(without, everywhere) - 50.0
    assert plan.cost["contract capacity"] == pytest.approx(20.0 * max(0.0, highest_kw(plan, everywhere) - 1150.0), rel=0.05, abs=5.0)


def test_carbon_and_network_energy_add_to_the_price_of_a_step() -> None:
    pair = {"demand_price_per_kw_year": 0.0, "energy_price_per_kwh": 0.01}
    site = site_with(carbon={"price_per_kg": 0.05}, utilisation_hours={"below": pair, "above": pair})
    inputs = inputs_for(site)
    plan = plan_of(site, inputs)
    kwh = float(np.array(plan.import_kw) @ np.array(plan.duration_h))
    assert plan.cost["carbon"] == pytest.approx(kwh * 0.4 * 0.05) and plan.cost["energy by utilisation hours"] == pytest.approx(kwh * 0.01)
    assert float(np.median(plan.marginal_price_per_kwh)) > 0.05 + 0.02


def test_steep_changes_are_smoothed_where_they_cost() -> None:
    calm, wild = site_with(ramp={"free_kw_per_min": 2.0, "price_per_kw": 1.0}), site_with()
    smooth, rough = (steep_kw(plan_of(site, inputs_for(site)), free_kw_per_min=2.0) for site in (calm, wild))
    assert smooth < 0.6 * rough


def test_energy_below_the_minimum_take_is_worth_nothing() -> None:
    site = site_with(minimum_take={"kwh_per_month": 5e6, "price_per_kwh": 0.05})
    book = TariffBook(site)
    for hour in range(30):
        book.observe(MONDAY - timedelta(hours=30 - hour), 3600.0, 1000.0)
    inputs = inputs_for(site, MONDAY, book=book)
    take = next(c for c in inputs.commitments if c.per is Per.TOTAL)
    assert take.baseline_kw[0] > 1e6  # far from taken: the whole horizon is paid for anyway
    plan = plan_of(site, inputs)
    assert plan.cost["energy"] + plan.cost["minimum take"] == pytest.approx(0.0, abs=0.1)
    assert float(np.median(plan.marginal_price_per_kwh)) < 0.01


def test_what_of_the_month_was_not_metered_counts_at_its_mean_for_the_minimum_take() -> None:
    site = site_with(minimum_take={"kwh_per_month": 5e5, "price_per_kwh": 0.05})
    book = TariffBook(site)
    for hour in range(30):  # the meter speaks from the middle of the month on: 744 h at 1,000 kW come to more than the minimum
        book.observe(MONDAY - timedelta(hours=30 - hour), 3600.0, 1000.0)
    take = next(c for c in inputs_for(site, MONDAY, book=book).commitments if c.per is Per.TOTAL)
    assert take.baseline_kw == (0.0,)


def test_the_minimum_take_of_a_horizon_ends_with_the_accounts() -> None:
    site = site_with(minimum_take={"kwh_per_month": 742_000.0, "price_per_kwh": 0.05})
    book = TariffBook(site)
    for hour in range(30):
        book.observe(MONDAY - timedelta(hours=30 - hour), 3600.0, 1000.0)
    given = plan_inputs(site, MONDAY)
    (take,) = book.commitments(MONDAY, given.horizon, lambda windows, days_left: 0.0, settle_at=MONDAY + timedelta(hours=4))
    assert take.baseline_kw == (pytest.approx(2000.0),)  # 742,000 less 740 h at 1,000 kW


PAIRS = {
    "below": {"demand_price_per_kw_year": 20.0, "energy_price_per_kwh": 0.05},
    "above": {"demand_price_per_kw_year": 145.0, "energy_price_per_kwh": 0.0},
}


@pytest.mark.parametrize(
    ("mean_kw", "peak_kw", "hours", "pair"),
    [
        (200.0, 1200.0, 30, "below"),  # 1,460 h of use
        (400.0, 1200.0, 30, "above"),  # 2,920 h
        (200.0, 1200.0, 20, "above"),  # less than a day metered: expected_h stands
    ],
)
def test_the_pair_of_prices_is_that_of_the_hours_the_year_is_heading_for(mean_kw: float, peak_kw: float, hours: int, pair: str) -> None:
    site = site_with(utilisation_hours={**PAIRS, "expected_h": 6000})
    book = TariffBook(site)
    for quarter in range(4 * hours):
        book.observe(MONDAY - timedelta(hours=hours - quarter / 4), 900.0, mean_kw)
    power, next_power, energy = inputs_for(site, MONDAY, free_kw=peak_kw, book=book).commitments
    assert power.up_price == next_power.up_price == (PAIRS[pair]["demand_price_per_kw_year"],) and power.baseline_kw == (peak_kw,)
    assert set(energy.up_price) == {PAIRS[pair]["energy_price_per_kwh"]}


def test_a_plan_whose_charges_cost_something_else_does_not_stand_its_check() -> None:
    site = site_with(demand_charges=[PEAK], carbon={"price_per_kg": 0.05})
    inputs = inputs_for(site)
    plan = plan_of(site, inputs)
    for name in ("peak", "carbon"):
        faults = list(charge_faults(inputs, replace(plan, cost={**plan.cost, name: plan.cost[name] * 0.9 - 1.0})))
        assert len(faults) == 1 and faults[0].startswith(f"{name} costs")


def test_the_window_of_a_local_day_follows_the_clock_change() -> None:
    site = site_with(demand_charges=[{"name": "peak", "price_per_kw_month": 1.0, "when": [{"hours": [14, 20]}]}])
    now = datetime(2024, 11, 2, 12, tzinfo=UTC)  # clocks go back in the night to Sunday
    inputs = plan_inputs(site, now)
    peak, *_ = TariffBook(site).commitments(now, inputs.horizon, lambda windows, days_left: 0.0)
    begins = [span[0] for span in peak.spans or ()]
    assert begins == [datetime(2024, 11, 2, 19, tzinfo=UTC), datetime(2024, 11, 3, 20, tzinfo=UTC)]


def test_the_book_keeps_the_peaks_of_each_window_and_the_running_half_hour() -> None:
    half_hourly = {**PEAK, "interval_min": 30}
    site = site_with(demand_charges=[half_hourly, {"name": "all", "price_per_kw_month": 1.0}])
    book = TariffBook(site)
    at = datetime(2024, 8, 19, 18, 30, tzinfo=UTC)  # 13:30 in Chicago
    for minute, kw in enumerate([1000.0] * 30 + [600.0] * 15 + [800.0] * 15 + [500.0] * 10):
        book.observe(at + timedelta(minutes=minute), 60.0, kw)
    month = 12 * 54 + 7  # August 2024
    assert book.peaks_kw == {"peak": {month: pytest.approx(700.0)}, "all": {month: pytest.approx(1000.0)}}
    now = at + timedelta(minutes=70)
    assert book.interval_energy_kwh(now)[30] == pytest.approx(500.0 / 6)
    assert book.interval_energy_kwh(now + timedelta(minutes=30)) == {}


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 1000), min_size=4, max_size=4), st.floats(0, 3000), st.floats(0, 2), st.floats(0, 2))
def test_terms_of_totals_and_changes_cost_what_their_commitment_says(kw: list[float], base: float, down: float, spread: float) -> None:
    hours = np.array([0.25, 0.5, 1.0, 1.0])
    total = Commitment("take", Per.TOTAL, (base,), (down + spread,), (down,))
    change = Commitment("ramp", Per.CHANGE, (base / 10,) * 3, (spread,) * 3, (0.0,) * 3)
    total_term, change_term = TotalTerm(cp.Constant(kw)), ChangeTerm(cp.Constant(kw))
    total_term.update(total, hours)
    change_term.update(change)
    for term, commitment in ((total_term, total), (change_term, change)):
        cp.Problem(cp.Minimize(term.cost), list(term.constraints.values())).solve(solver=cp.HIGHS, warm_start=False)
        assert float(term.cost.value) == pytest.approx(commitment_cost(commitment, hours, np.array(kw)), abs=1e-5, rel=1e-6)


def test_a_commitment_that_no_term_prices_is_refused_not_ignored() -> None:
    site = site_with()
    inputs = inputs_for(site)
    n = inputs.horizon.n
    promise = Commitment("response", Per.STEP, (1000.0,) * n, (2.0,) * n, (0.0,) * n)
    with pytest.raises(InvariantBroken, match="response"):
        Planner(site).plan(replace(inputs, commitments=(promise,)))
    with pytest.raises(PlanInfeasible, match="prices of response is not finite"):
        Planner(site).plan(replace(inputs, commitments=(replace(promise, up_price=(float("nan"),) * n),)))


def test_the_price_of_a_step_is_that_of_the_tier_the_month_will_end_in() -> None:
    tiers = [{"up_to": 20_000.0, "price_per_kwh": 0.04}, {"price_per_kwh": 0.09}]
    period = {"name": "all", "rest": True, "tiers": tiers}
    site = site_with(energy="time_of_use", tier_unit="kwh_per_day", energy_periods=[period])
    book = TariffBook(site)
    for hour in range(25):
        book.observe(MONDAY + timedelta(hours=hour), 3600.0, 1000.0)
    now = MONDAY + timedelta(hours=25)
    horizon = plan_inputs(site, now).horizon
    known = step_prices(site.tariff, site.time_zone, horizon.starts, horizon.duration_h, book.tier_kwh(now))[0]
    unknown = step_prices(site.tariff, site.time_zone, horizon.starts, horizon.duration_h, TariffBook(site).tier_kwh(now))[0]
    assert list(book.tier_kwh(now).values()) == [pytest.approx(24_000.0)] * 2  # the next month's as well
    assert np.allclose(known, 0.09) and np.allclose(unknown, 0.04)


def test_only_intervals_that_start_in_the_window_count_for_its_peak() -> None:
    now = datetime(2024, 8, 19, 18, 37, tzinfo=UTC)  # 13:37 in Chicago, 23 minutes before the window opens
    site = site_with(demand_charges=[PEAK])
    inputs = inputs_for(site, now)
    peak = next(c for c in inputs.commitments if c.name == "peak")
    averaged, direct = group_masks(peak, inputs, 900, interval_columns(900), interval_rows(900))
    assert averaged.tolist() == [False, False, True, True, True, True]  # 13:30, 13:45, then from 14:00 on
    begins = [s - timedelta(hours=5) for s in inputs.horizon.starts[interval_columns(900) :]]
    assert direct.tolist() == [b.weekday() < 5 and 14 <= b.hour < 20 for b in begins]


@pytest.mark.parametrize(
    "charges", [{}, {"contract_capacity": {"kw": 1150.0, "breach_price_per_kw_month": 20.0}}, {"demand_charges": [PEAK]}]
)
def test_a_plan_says_nothing_of_a_billing_peak_without_a_price_and_its_own_figure_of_every_source(charges: dict[str, Any]) -> None:
    site = site_with(**charges)
    plan = plan_of(site, inputs_for(site))
    assert not any("billing peak" in line for line in plan.lines)
    assert not any(source == "demand charge" for source in plan.binding)
    stands = [line for line in plan.lines if line.startswith("import stands on")]
    assert len(stands) == len(set(filter(None, plan.binding)))
    for line in stands:
        source = max((s for s in plan.binding if s and s in line), key=len)
        assert f"in {plan.binding.count(source)} steps" in line
