"""Halls whose plant can remove less heat than they make: what the plan lets them draw, and what its check refuses."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ems.control.plan_state import plan_state
from ems.errors import PlanInfeasible
from ems.plan.cooled import RemovedHeat, most_it_kw
from ems.plan.inputs import PlanInputs
from ems.plan.loop import PlanLoop
from ems.plan.plan import Plan
from ems.plan.planner import Planner
from ems.plan.state import PlanState
from ems.plan.verify import verify
from ems.site.model import Site
from tests.assets.test_cooling import site_with
from tests.control.loop import Loop, even
from tests.plan.given import MONDAY, backlog, plan_inputs

SITE = site_with()
PLANNER = Planner(SITE)
IDLE_KW = sum(c.idle_kw for c in SITE.clusters)


def inputs_with(able_kw: float | None, seed: int = 0, site: Site = SITE, **changes: Any) -> PlanInputs:
    return replace(plan_inputs(site, seed=seed), able_kw={} if able_kw is None else {"cooling-1": able_kw}, **changes)


def heat_kw(plan: Plan) -> np.ndarray:
    return sum((np.array(plan.power_kw[c.id]) for c in SITE.clusters), start=np.zeros(len(plan.duration_h)))


def planned(inputs: PlanInputs) -> np.ndarray:
    """Steps after the guard's minutes and within the hour."""
    return np.array([600.0 <= (s - inputs.now).total_seconds() < 3600.0 for s in inputs.horizon.starts])


@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 50), able_kw=st.floats(0.0, 2000.0))
def test_within_the_hour_halls_make_no_more_heat_than_can_be_removed_as_far_as_work_can_wait(seed: int, able_kw: float) -> None:
    inputs = inputs_with(able_kw, seed)
    plan = PLANNER.plan(inputs)  # checked by the planner
    heat, now = heat_kw(plan), planned(inputs)
    assert verify(SITE, inputs, plan) == []
    assert now.sum() == 10
    assert (heat[now] <= max(able_kw, IDLE_KW) + 0.01).all()  # all work of the demo's halls can be held back


def test_after_the_hour_the_plant_is_taken_to_be_back_and_what_waited_is_made_up() -> None:
    inputs = inputs_with(0.6 * 1200.0)
    held, free = PLANNER.plan(inputs), PLANNER.plan(inputs_with(None))
    now = planned(inputs)
    assert heat_kw(held)[now].sum() < heat_kw(free)[now].sum() - 100.0
    assert heat_kw(held)[~now].max() > 0.6 * 1200.0 + 100.0
    assert held.objective > free.objective


def test_a_plant_that_is_whole_changes_nothing() -> None:
    assert PLANNER.plan(inputs_with(1800.0)).power_kw == PLANNER.plan(inputs_with(None)).power_kw
    idle = {c.id: np.full(PLANNER.grid.n, c.idle_kw) for c in SITE.clusters}
    waiting = {c.id: backlog(200.0, 0.0) for c in SITE.clusters}
    quiet = inputs_with(1800.0, load_q50_kw=idle, load_q90_kw=idle, backlog=waiting)
    assert all((most > idle[name] + 100.0).all() for name, most in most_it_kw(SITE, quiet).items()), "work that waits may be made up"


def test_what_nobody_may_hold_back_comes_first_and_the_plan_stands() -> None:
    hall = SITE.clusters[0]
    kept = {name: replace(k, throttle_price_per_kwh=None, defer_price_per_kwh=None) for name, k in hall.classes.items()}
    fixed = replace(hall, classes=kept)
    site = replace(SITE, assets={**SITE.assets, hall.id: fixed})
    inputs = inputs_with(500.0, site=site)
    plan = Planner(site).plan(inputs)
    now, other = planned(inputs), SITE.clusters[1]
    assert (np.array(plan.power_kw[hall.id])[now] >= inputs.load_q50_kw[hall.id][now] - 0.01).all()
    assert np.allclose(np.array(plan.power_kw[other.id])[now], other.idle_kw, atol=0.01)


def test_a_plan_that_promises_what_cannot_be_cooled_is_refused() -> None:
    plan = PLANNER.plan(inputs_with(None))
    assert any("can be removed" in fault for fault in verify(SITE, inputs_with(500.0), plan))
    assert any("heat removed by cooling-1 is not finite" in fault for fault in inputs_with(float("nan")).faults())
    with pytest.raises(PlanInfeasible):
        PLANNER.plan(inputs_with(float("nan")))


def test_it_is_told_why() -> None:
    assert any("at what its plant can cool" in line for line in PLANNER.plan(inputs_with(700.0)).explain())


def test_a_trip_is_left_to_the_guard_and_what_stays_out_is_planned_with() -> None:
    removed, found = RemovedHeat(SITE), []
    for minute in range(0, 50, 2):
        at = MONDAY + timedelta(minutes=minute)
        able_kw = 1800.0 if minute < 20 else 600.0 if minute < 40 else 1200.0
        heard = {} if minute == 44 else {"cooling-1": able_kw}
        removed.observe(at, heard)
        found.append(removed.lastingly_kw(at).get("cooling-1"))
    whole, tripped, back = found[:10], found[10:20], found[20:]
    assert whole == [None] * 5 + [1800.0] * 5  # ten minutes, twice the restart, must be known
    assert tripped == [1800.0] * 5 + [600.0] * 5
    assert back == [1200.0, 1200.0, None, None, None]  # back at once, and unknown once it is silent


def test_what_a_plant_says_reaches_the_plan_and_a_silent_one_says_nothing() -> None:
    loop = Loop(SITE, "rules")
    quiet = {c.id: even(200.0) for c in SITE.clusters}
    loop.run(5, lambda k: quiet)
    state = plan_state(SITE, loop.decisions[-1], None)
    assert state.able_kw["cooling-1"] == pytest.approx(1800.0, rel=0.02)
    assert PlanState.decode(state.encode()) == state
    loop_of_plans, later = PlanLoop(SITE), timedelta(minutes=10)
    assert loop_of_plans.make_inputs(loop.now, state).able_kw == {}
    assert loop_of_plans.make_inputs(loop.now + later, replace(state, at=state.at + later)).able_kw == state.able_kw
    loop.plant.devices["cooling-1"].inject("silent", loop.now.timestamp() + 3600.0)
    loop.run(10, lambda k: quiet)
    assert plan_state(SITE, loop.decisions[-1], None).able_kw == {}
