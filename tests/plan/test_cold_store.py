"""A loop that may be led as a store of cold: what the plan does with it, and what its check refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ems.assets.cooling.block import ColdStore
from ems.forecast.weather import dew_points_ahead_c
from ems.plan.inputs import PlanInputs
from ems.plan.plan import Plan, decode_plan, encode_plan
from ems.plan.planner import Planner
from ems.plan.state import PlanState
from ems.plan.verify import verify
from ems.site.model import Site
from tests.assets.test_cooling import site_with
from tests.plan.given import MONDAY, plan_inputs

LED: dict[str, Any] = {"supply_lowest_c": 16, "has_economiser": False, "humidity": 0.3}
ALONE = site_with(has_economiser=False, humidity=0.3)
SITE = site_with(**LED)
PLANNER = Planner(SITE)


def given_inputs(site: Site = SITE, seed: int = 0, supply_c: float = 24.0, **changes: Any) -> PlanInputs:
    inputs = plan_inputs(site, seed=seed)
    led = {"cooling-1": supply_c} if site.coolings[0].is_led else {}
    dew = {name: np.full(inputs.horizon.n, 11.0) for name in led}
    given = replace(inputs, import_price_per_kwh=3.0 * inputs.import_price_per_kwh, supply_temp_c=led, dew_point_c=dew)
    return replace(given, **changes)


INPUTS = given_inputs()
PLAN = PLANNER.plan(INPUTS)


def bent(plan: Plan, step: int, by_k: float) -> Plan:
    course = list(plan.supply_temp_c["cooling-1"])
    course[step] += by_k
    return replace(plan, supply_temp_c={"cooling-1": tuple(course)})


def test_the_loop_is_cooled_ahead_of_dear_hours_and_the_plan_is_cheaper_than_one_without_which_says_nothing_of_it() -> None:
    taken = -np.diff(PLAN.supply_temp_c["cooling-1"])
    worth = np.array(PLAN.marginal_price_per_kwh)
    assert min(PLAN.supply_temp_c["cooling-1"]) < 20.0
    assert np.maximum(-taken, 0.0) @ worth > 1.2 * (np.maximum(taken, 0.0) @ worth) > 0.0
    without = Planner(ALONE).plan(given_inputs(ALONE))
    assert PLAN.objective < without.objective - 1.0
    assert without.supply_temp_c == {} and "supply_temp_c" not in encode_plan(without)


def test_the_course_of_the_supply_travels_with_the_plan_and_the_state() -> None:
    assert decode_plan(encode_plan(PLAN)).supply_temp_c == PLAN.supply_temp_c
    state = PlanState(
        MONDAY, {}, {}, 0.0, 0.0, None, 0.0, 0.0, 1000.0, 0.0, None, supply_temp_c={"cooling-1": 21.5}, dew_point_c={"cooling-1": 9.5}
    )
    assert PlanState.decode(state.encode()) == state


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 50), st.floats(12.0, 30.0), st.floats(5.0, 38.0), st.none() | st.floats(-5.0, 26.0))
def test_every_plan_stands_its_check_from_whatever_supply_it_starts(
    seed: int, supply_c: float, outdoor_c: float, dew_c: float | None
) -> None:
    inputs = given_inputs(seed=seed, supply_c=supply_c)
    dew = {} if dew_c is None else {"cooling-1": np.full(inputs.horizon.n, dew_c)}
    inputs = replace(inputs, outdoor_temp_c=np.full(inputs.horizon.n, outdoor_c), dew_point_c=dew)
    plan = PLANNER.plan(inputs)  # checked by the planner
    course = np.array(plan.supply_temp_c["cooling-1"])
    lowest = 24.0 if dew_c is None else max(16.0, dew_c + 2.0)
    assert course.max() <= 24.0 + 1e-6
    assert course[-1] >= min(24.0, lowest) - 1e-6  # what was colder has been given back by then
    assert (np.abs(np.diff(course)) <= 0.5 * 60.0 * np.array(plan.duration_h) + 1e-6).all()


def test_humid_air_keeps_the_supply_two_kelvin_above_its_dew_point() -> None:
    dew = np.linspace(14.0, 20.0, INPUTS.horizon.n)
    course = np.array(PLANNER.plan(replace(INPUTS, dew_point_c={"cooling-1": dew})).supply_temp_c["cooling-1"])
    assert (course[1:] >= np.minimum(24.0, np.maximum(16.0, dew + 2.0)) - 1e-6).all()
    assert (course < 23.9).any()


def test_a_loop_nobody_measures_is_left_as_commissioned() -> None:
    plan = PLANNER.plan(replace(INPUTS, supply_temp_c={}))
    assert set(plan.supply_temp_c["cooling-1"]) == {24.0}


def test_without_a_dew_point_nothing_is_cooled_ahead_and_the_check_refuses_that_it_were() -> None:
    unmeasured = replace(INPUTS, dew_point_c={})
    assert min(PLANNER.plan(unmeasured).supply_temp_c["cooling-1"]) == pytest.approx(24.0, abs=1e-6)
    assert any("too cold" in f for f in verify(SITE, unmeasured, PLAN))


def test_a_measured_dew_point_is_expected_to_rise_with_the_root_of_the_hours() -> None:
    ahead = dew_points_ahead_c(12.0, [1.0, 3.0, 5.0])
    assert ahead.tolist() == pytest.approx([13.4, 14.8, 16.2])


def test_negative_prices_do_not_burn_power_by_cooling_and_warming_at_once() -> None:
    price = np.where(np.arange(INPUTS.horizon.n) % 7 == 3, -2.0, INPUTS.import_price_per_kwh)
    plan = PLANNER.plan(replace(INPUTS, import_price_per_kwh=price, export_price_per_kwh=np.minimum(price, 0.0)))
    assert plan.status.startswith("optimal")  # stands its check, which knows only the course


@pytest.mark.parametrize(
    ("plan", "fault"),
    [
        (replace(PLAN, supply_temp_c={}), "no course"),
        (bent(PLAN, 0, -2.0), "starts at"),
        (bent(PLAN, 3, 0.5), "warmer than commissioned"),
        (bent(PLAN, 1, -7.0), "moves too fast"),
        (bent(PLAN, int(np.argmin(PLAN.supply_temp_c["cooling-1"])), -0.5), "too cold"),
        (bent(PLAN, int(np.argmin(PLAN.supply_temp_c["cooling-1"])), 0.5), "import is not the sum"),
    ],
)
def test_the_check_refuses(plan: Plan, fault: str) -> None:
    assert verify(SITE, INPUTS, PLAN) == []
    assert any(fault in f for f in verify(SITE, INPUTS, plan)), verify(SITE, INPUTS, plan)


def test_the_check_refuses_more_heat_than_is_removed_without_redundant_units() -> None:
    small = replace(SITE, assets={**SITE.assets, "cooling-1": replace(SITE.coolings[0], plant=replace(SITE.coolings[0].plant, units=2))})  # type: ignore[arg-type]
    assert any("without its redundant units" in f for f in verify(small, INPUTS, PLAN))


def test_set_by_hand_the_heat_balance_holds_and_moved_it_fails() -> None:
    import cvxpy as cp

    plant = SITE.coolings[0].plant
    assert plant is not None
    hours = cp.Parameter(3, nonneg=True, value=np.array([0.5, 0.5, 1.0]))
    store = ColdStore(plant, hours)
    store.update(np.full(3, 30.0), np.full(3, 9.0), np.full(3, 900.0), 23.0, np.array([0.5, 0.5, 1.0]), 0.1)
    now = plant.loop_kwh_per_k
    store.charge_kw.value, store.discharge_kw.value = np.array([100.0, 0.0, 0.0]), np.array([0.0, 0.0, 60.0])
    store.cold_kwh.value = now + np.array([0.0, 50.0, 50.0, -10.0])
    assert all(c.violation().max() < 1e-9 for c in store.constraints.values())
    assert store.power_kw.value[0] > 100.0 * store.draws.value[0] > 0.0  # colder costs, too
    store.cold_kwh.value = now + np.array([0.0, 60.0, 50.0, -10.0])
    assert store.constraints["heat balance of the loop"].violation().max() == pytest.approx(10.0)
    store.charge_kw.value = np.array([1e4, 0.0, 0.0])
    assert store.constraints["cools ahead within its firm capacity and rate"].violation().max() > 0.0
