"""Whole plans with generators and sun: what runs for money and what never does, permits, minimum times, outages, trips."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ems.assets.generator.model import GeneratorRun
from ems.obligation import Obligation, ObligationKind
from ems.plan.engine import Engine
from ems.plan.generation import ordered_shares
from ems.plan.inputs import PlanInputs
from ems.plan.plan import Plan
from ems.plan.planner import Planner
from ems.plan.verify import verify
from ems.site.model import Site
from tests.assets.generator_site import DIESEL, GAS, PV, SMR, a_generator, off, on, site_with, with_runs, with_sun
from tests.plan.given import MONDAY, demo_site, plan_inputs

COST_PER_KWH = 0.02 / 0.46  # of the gas engine at full load


@pytest.fixture(scope="module")
def mixed() -> Planner:
    """Gas, diesel, a reactor and sun."""
    return Planner(site_with(gas_1={**GAS, "start_cost": 5.0}, diesel_1=DIESEL, smr_1=SMR, pv_1=PV))


@pytest.fixture(scope="module")
def gas() -> Planner:
    return Planner(site_with(gas_1={**GAS, "start_cost": 5.0, "permit_h_per_year": 500}))


def priced(inputs: PlanInputs, price: np.ndarray | float) -> PlanInputs:
    row = np.broadcast_to(np.asarray(price, float), (inputs.horizon.n,)).copy()
    return replace(inputs, import_price_per_kwh=row)


def given_kw(plan: Plan, name: str) -> np.ndarray:
    return -np.array(plan.power_kw[name])


def hours_h(plan: Plan) -> np.ndarray:
    begin = np.cumsum(plan.duration_h) - np.array(plan.duration_h)
    return np.asarray(begin)


def all_standing(site: Site, seed: int = 0) -> PlanInputs:
    runs = {g.id.replace("-", "_"): on(g.power_kw) if g.is_baseload else off() for g in site.generators}
    return with_runs(plan_inputs(site, seed=seed), **runs)


@settings(max_examples=4, deadline=None)
@given(dollars=st.floats(0.0, 9.0), seed=st.integers(0, 50), limit_kw=st.floats(600, 1370), running=st.booleans())
def test_an_emergency_generator_is_never_started_for_money(
    mixed: Planner, dollars: float, seed: int, limit_kw: float, running: bool
) -> None:
    inputs = priced(all_standing(mixed.site, seed), dollars)
    inputs = replace(inputs, envelope=replace(inputs.envelope, kw=np.full(inputs.horizon.n, limit_kw)))
    runs = {**inputs.generation.runs, "diesel-1": on(500.0) if running else off()}
    inputs = replace(inputs, generation=replace(inputs.generation, runs=runs))
    assert not given_kw(mixed.plan(inputs), "diesel-1").any()


def test_at_nine_thousand_a_megawatt_hour_everything_permitted_runs_and_the_diesel_stands(mixed: Planner) -> None:
    plan = mixed.plan(with_sun(priced(all_standing(mixed.site), 9.0), "pv-1", 20.0, 60.0))
    later = hours_h(plan) >= 1.0
    assert not given_kw(plan, "diesel-1").any()
    assert given_kw(plan, "gas-1")[later] == pytest.approx(400.0)
    assert given_kw(plan, "smr-1") == pytest.approx(300.0)
    assert given_kw(plan, "pv-1") == pytest.approx(60.0)


def test_a_gas_engine_runs_when_the_price_is_above_its_fuel_and_stands_when_it_is_below(gas: Planner) -> None:
    inputs = all_standing(gas.site)
    begin = np.cumsum(inputs.horizon.duration_h) - np.array(inputs.horizon.duration_h)
    dear = (begin >= 12.0) & (begin < 20.0)
    plan = gas.plan(priced(inputs, np.where(dear, 3 * COST_PER_KWH, 0.8 * COST_PER_KWH)))
    power = given_kw(plan, "gas-1")
    assert power[dear][1:] == pytest.approx(400.0)
    assert not power[(begin < 11.0) | (begin >= 20.0)].any()  # the hour before may be used to start
    assert not given_kw(gas.plan(priced(inputs, 0.9 * COST_PER_KWH)), "gas-1").any()


def test_a_price_spike_too_short_for_a_start_and_the_minimum_up_time_is_let_pass(gas: Planner) -> None:
    inputs = replace(all_standing(gas.site), unavailable=frozenset({"bess-1", "ups-1"}))
    begin = np.cumsum(inputs.horizon.duration_h) - np.array(inputs.horizon.duration_h)
    spike = (begin >= 3.0) & (begin < 3.25)
    paid = COST_PER_KWH + 5.0 / (400 * 0.25)  # what the start costs more, were the spike all there is
    assert not given_kw(gas.plan(priced(inputs, np.where(spike, paid, 0.01))), "gas-1").any()
    plan = gas.plan(priced(inputs, np.where(spike, 2.0, 0.01)))
    on_h = float(np.array(plan.on["gas-1"]) @ np.array(plan.duration_h))
    assert 0.5 - 1e-6 <= on_h <= 1.0  # the minimum up time, more than the spike


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 1000), is_on=st.booleans(), since_h=st.floats(0.0, 1.0), left_h=st.floats(0.6, 6.0))
def test_minimum_times_and_permit_hours_hold_for_any_prices(gas: Planner, seed: int, is_on: bool, since_h: float, left_h: float) -> None:
    rng = np.random.default_rng(seed)
    run = on(400.0, since_h, permit_left_h=left_h) if is_on else off(since_h, permit_left_h=left_h)
    inputs = with_runs(plan_inputs(gas.site, MONDAY + timedelta(minutes=7 * seed), seed=seed), gas_1=run)
    plan = gas.plan(priced(inputs, rng.choice([0.0, 0.04, 0.1, 0.4], inputs.horizon.n)))
    hours, state = np.array(plan.duration_h), np.array(plan.on["gas-1"])
    assert float(hours @ state) <= max(left_h, 0.5 - since_h + hours.max()) + 1e-6
    changed, before, begin = -since_h, float(is_on), np.cumsum(hours) - hours
    for k, now in enumerate(state.tolist()):
        if now != before:
            assert begin[k] - changed >= 0.5 - 1e-6
            changed, before = begin[k], now


def test_a_permit_that_is_nearly_used_up_is_kept_for_the_dearest_hours(gas: Planner) -> None:
    inputs = with_runs(plan_inputs(gas.site), gas_1=off(permit_left_h=4.0))
    begin = np.cumsum(inputs.horizon.duration_h) - np.array(inputs.horizon.duration_h)
    dear, dearest = (begin >= 10) & (begin < 20), (begin >= 30) & (begin < 33)
    plan = gas.plan(priced(inputs, np.where(dearest, 2.0, np.where(dear, 0.3, 0.01))))
    hours = np.array(plan.duration_h) * np.array(plan.on["gas-1"])
    assert hours[dearest].sum() == pytest.approx(3.0) and hours.sum() <= 4.0 + 1e-6


def test_an_outage_of_the_reactor_is_planned_around() -> None:
    away = {"start": (MONDAY + timedelta(hours=12)).isoformat(), "end": (MONDAY + timedelta(hours=18)).isoformat()}
    planner = Planner(site_with(800.0, gas_1=GAS, smr_1={**SMR, "power_kw": 500, "start_s": 3600, "outages": [away]}))
    inputs = priced(all_standing(planner.site), 0.5 * COST_PER_KWH)
    plan = planner.plan(inputs)
    begin = hours_h(plan)
    out = (begin >= 12.0) & (begin + np.array(plan.duration_h) <= 19.0)  # its start of an hour included
    assert not given_kw(plan, "smr-1")[out].any() and given_kw(plan, "smr-1")[begin < 11].min() >= 250.0
    assert given_kw(plan, "gas-1")[out].max() > 0.0  # dearer than the grid, and the limit needs it
    assert max(plan.import_kw) <= 800.0 + 0.01


def test_a_reactor_that_tripped_is_counted_out_for_its_repair(mixed: Planner) -> None:
    inputs = all_standing(mixed.site)
    runs = {**inputs.generation.runs, "smr-1": off(0.0, blocked_h=8.0)}
    plan = mixed.plan(replace(inputs, generation=replace(inputs.generation, runs=runs)))
    power, begin = given_kw(plan, "smr-1"), hours_h(plan)
    assert not power[begin < 8.0].any() and power[begin > 12.0].min() >= 150.0


def test_a_reactor_that_starts_is_not_counted_on_before_it_loads(mixed: Planner) -> None:
    inputs = with_runs(all_standing(mixed.site), smr_1=on(0.0, 0.5, start_left_h=3.5))
    plan = mixed.plan(inputs)
    power, begin = given_kw(plan, "smr-1"), hours_h(plan)
    assert not power[begin < 3.5].any() and power[begin > 6.0].min() >= 150.0
    at_once = mixed.plan(all_standing(mixed.site))
    assert verify(mixed.site, inputs, plan) == []
    assert any("smr-1: runs through an outage" in fault for fault in verify(mixed.site, inputs, at_once))


def test_no_single_trip_would_break_the_import_limit() -> None:
    planner = Planner(site_with(1000.0, gas_1={**GAS, "power_kw": 300}, gas_2={**GAS, "power_kw": 300}))
    inputs = priced(all_standing(planner.site), 0.3)
    plan = planner.plan(inputs)
    later = hours_h(plan) >= 1.0
    imported = np.array(plan.import_kw)
    for name in ("gas-1", "gas-2"):
        assert (imported + given_kw(plan, name))[later].max() <= 1000.0 + 0.01


def test_sun_is_curtailed_at_negative_prices_and_never_counted_on_at_the_import_limit(mixed: Planner) -> None:
    inputs = with_sun(all_standing(mixed.site), "pv-1", 0.0, 150.0)
    assert not given_kw(mixed.plan(priced(inputs, -0.2)), "pv-1").any()
    plan = mixed.plan(priced(inputs, 0.2))
    assert given_kw(plan, "pv-1") == pytest.approx(150.0)
    assert not np.array(plan.curtailed_kw["pv-1"]).any()


def test_an_order_that_names_the_diesel_is_planned_with_and_no_other_order() -> None:
    site = site_with(diesel_1={**DIESEL, "ordered_by": ["backup_order"]})
    planner, inputs = Planner(site), all_standing(site)
    start, end = MONDAY + timedelta(hours=10), MONDAY + timedelta(hours=12)
    orders = [Obligation(p, ObligationKind.IMPORT_LIMIT, 700.0, start, end, MONDAY, p) for p in ("backup_order", "manual")]
    assert ordered_shares(site, inputs.horizon, orders[1:]) == {}
    ordered = ordered_shares(site, inputs.horizon, orders)
    limit = np.where(ordered["diesel-1"] > 0, 700.0, 1370.0)
    inputs = replace(inputs, envelope=replace(inputs.envelope, kw=limit), generation=replace(inputs.generation, ordered=ordered))
    plan = planner.plan(inputs)
    power, named = given_kw(plan, "diesel-1"), ordered["diesel-1"] > 0
    assert power[named].min() >= 240.0 * ordered["diesel-1"][named].min() and not power[~named].any()


def test_a_plan_with_a_fault_in_its_generation_does_not_stand_the_check(mixed: Planner) -> None:
    inputs = with_sun(priced(all_standing(mixed.site), 0.2), "pv-1", 50.0, 100.0)
    plan = mixed.plan(inputs)
    assert verify(mixed.site, inputs, plan) == []
    n = inputs.horizon.n
    wrong = {
        "diesel-1: runs for money": ("diesel-1", (-10.0,) * n),
        "gas-1: above its rating": ("gas-1", (-401.0,) * n),
        "gas-1: under its minimum load": ("gas-1", (-10.0,) * n),
        "pv-1: gives more than is there": ("pv-1", (-101.0,) * n),
        "smr-1: draws power": ("smr-1", (1.0,) * n),
    }
    for fault, (name, row) in wrong.items():
        faults = verify(mixed.site, inputs, replace(plan, power_kw={**plan.power_kw, name: row}))
        assert any(f.startswith(fault) for f in faults), (fault, faults)
    flicker = tuple(float(k % 2) for k in range(n))
    faults = verify(mixed.site, inputs, replace(plan, on={**plan.on, "gas-1": flicker}))
    assert any(f.startswith("gas-1: on for") for f in faults)


def test_a_site_without_generators_compiles_to_a_program_without_whole_numbers() -> None:
    planner = Planner(demo_site())
    assert not any(v.attributes["boolean"] for v in planner.problem.problem.variables())
    assert not any("trips" in name for name in planner.problem.constraints)
    assert planner.plan(plan_inputs(planner.site)).on == {}


def test_a_standby_machine_beside_a_site_changes_nothing_in_its_plan() -> None:
    with_diesel = Planner(site_with(1370.0, 12.0, diesel_1=DIESEL))
    inputs = plan_inputs(demo_site())
    alone = Planner(demo_site()).plan(inputs)
    beside = with_diesel.plan(with_runs(inputs, diesel_1=off()))
    assert beside.objective == pytest.approx(alone.objective, rel=1e-7)
    assert beside.import_kw == pytest.approx(alone.import_kw, abs=0.5)


def test_on_and_off_are_decided_to_the_same_cost_as_by_the_solver_alone(gas: Planner) -> None:
    inputs = priced(all_standing(gas.site), np.where(np.arange(gas.grid.n) % 7 < 3, 0.2, 0.02))
    plan = gas.plan(inputs)
    gas.problem.problem.solve(solver="HIGHS")
    assert plan.objective == pytest.approx(gas.problem.problem.value, rel=2e-3)
    assert isinstance(gas.engine, Engine) and a_generator(gas.site, "gas-1").permit_h_per_year == 500


def slow_gas(minutes: float, **more: float) -> Site:
    """A gas engine that takes so long from nothing to all it has."""
    return site_with(gas_1={**GAS, "ramp_kw_per_s": 400.0 / (60.0 * minutes), **more})


def changing(site: Site, seed: int = 1) -> PlanInputs:
    """Prices about the cost of its fuel, another in every step."""
    inputs = all_standing(site, seed)
    return priced(inputs, 0.04 + 0.15 * np.random.default_rng(seed + 2).random(inputs.horizon.n))


def test_a_plan_of_a_fast_machine_is_refused_for_a_slow_one() -> None:
    fast, slow = slow_gas(1.0), slow_gas(600.0)
    inputs = changing(fast)
    plan = Planner(fast).plan(inputs)
    assert verify(fast, inputs, plan) == []
    assert any("more than its ramp allows" in fault for fault in verify(slow, inputs, plan))


@pytest.mark.parametrize("minutes", [20.0, 150.0])
@pytest.mark.parametrize("run", [off(), off(0.01), on(0.0, 0.01), on(30.0, 0.02), on(80.0), on(400.0), on(400.0, available=0.6)])
def test_the_plan_of_a_slow_machine_stands_wherever_it_begins(minutes: float, run: GeneratorRun) -> None:
    site = slow_gas(minutes)
    inputs = with_runs(changing(site), gas_1=run)
    assert verify(site, inputs, Planner(site).plan(inputs)) == []


def test_a_step_moved_beyond_its_ramp_is_refused() -> None:
    minutes, site = 150.0, slow_gas(150.0)
    inputs = with_runs(changing(site), gas_1=on(200.0))
    plan = Planner(site).plan(inputs)
    middle = int(np.flatnonzero(np.array(plan.on["gas-1"]) > 0.5)[-1])
    reach_kw = 400.0 / minutes * 60.0 * (plan.duration_h[middle] + plan.duration_h[middle - 1]) / 2
    moved = list(plan.power_kw["gas-1"])
    moved[middle] = moved[middle - 1] - reach_kw - 1.0
    changed = replace(plan, power_kw={**plan.power_kw, "gas-1": tuple(moved)})
    assert any("gas-1: rises 1.0" in fault for fault in verify(site, inputs, changed))


def test_a_running_machine_rises_no_faster_in_the_first_step_than_its_ramp() -> None:
    site = slow_gas(120.0)
    inputs = with_runs(priced(all_standing(site), 5.0), gas_1=on(200.0))
    plan = Planner(site).plan(inputs)
    assert given_kw(plan, "gas-1")[0] == pytest.approx(200.0 + 400.0 / 2.0 * plan.duration_h[0] / 2, abs=0.01)
    assert verify(site, inputs, plan) == []
