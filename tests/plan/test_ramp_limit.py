"""The ramp limit of the point of connection in the plan: kept where storage can, priced where it cannot, never infeasible."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ems.assets.grid_connection.block import GridConnectionBlock
from ems.plan.inputs import PlanInputs
from ems.plan.planner import Planner
from ems.plan.verify import verify
from ems.site.model import Site
from tests.plan.given import demo_site, plan_inputs


def ramped(kw_per_min: float) -> Site:
    site = demo_site()
    return replace(site, point_of_connection=replace(site.point_of_connection, ramp_limit_kw_per_min=kw_per_min))


SITE = ramped(8.0)
PLANNER = Planner(SITE)


def jumping(**changes: Any) -> PlanInputs:
    """A load that steps up by 250 kW in the third step and back in the sixth."""
    inputs = plan_inputs(SITE)
    loads = {k: v.copy() for k, v in inputs.load_q50_kw.items()}
    loads["hall-a"][:12] = 550.0
    loads["hall-a"][3:6] = 800.0
    upper = {k: np.maximum(v, inputs.load_q90_kw[k]) for k, v in loads.items()}
    return replace(inputs, load_q50_kw=loads, load_q90_kw=upper, store_energy_kwh={"bess-1": 600.0, "ups-1": 380.0}, **changes)


def beyond_kw(plan_import: tuple[float, ...], hours: tuple[float, ...], ramp: float) -> float:
    h = np.array(hours)
    return float(np.maximum(np.abs(np.diff(plan_import)) - ramp * 30.0 * (h[1:] + h[:-1]), 0.0).max())


def test_storage_smooths_a_step_of_the_load_down_to_the_ramp_limit() -> None:
    inputs = jumping()
    free = Planner(demo_site()).plan(inputs)
    held = PLANNER.plan(inputs)
    assert beyond_kw(free.import_kw, free.duration_h, 8.0) > 20.0
    assert beyond_kw(held.import_kw, held.duration_h, 8.0) < 0.01
    assert held.cost["ramp limit"] == pytest.approx(0.0, abs=1e-3)
    assert "ramp limit" not in free.cost


def test_a_jump_that_nothing_can_take_is_priced_and_planned_all_the_same() -> None:
    inputs = jumping(unavailable=frozenset({"bess-1", "ups-1"}), import_now_kw=300.0)
    plan = PLANNER.plan(inputs)
    assert plan.cost["ramp limit"] > 100.0
    assert verify(SITE, inputs, plan) == []
    cheap = replace(plan, cost={**plan.cost, "ramp limit": 0.0, "other": plan.cost["other"] + plan.cost["ramp limit"]})
    assert any(f.startswith("ramp limit costs") for f in verify(SITE, inputs, cheap))


@settings(deadline=None, max_examples=6)
@given(st.floats(-500.0, 3000.0), st.integers(0, 40))
def test_any_import_now_leaves_a_plan_that_stands_its_check(now_kw: float, seed: int) -> None:
    inputs = replace(plan_inputs(SITE, seed=seed), import_now_kw=now_kw)
    assert verify(SITE, inputs, PLANNER.plan(inputs)) == []


def test_by_hand_the_rows_hold_and_one_kilowatt_more_breaks_them() -> None:
    hours = np.array([0.1, 0.1, 0.5])
    block = GridConnectionBlock(cp.Parameter(3, nonneg=True, value=hours), 10.0)
    assert block.ramp is not None
    block.ramp.update(100.0, hours)  # 30, 60 and 180 kW
    block.ramp.beyond_kw.value = np.zeros(3)
    rises = block.constraints["rises no faster than the ramp limit"]
    block.power_kw.value = np.array([130.0, 190.0, 370.0])
    assert rises.violation().max() == pytest.approx(0.0)
    block.power_kw.value = np.array([130.0, 191.0, 370.0])
    assert rises.violation().max() == pytest.approx(1.0)
    block.ramp.update(None, hours)
    block.power_kw.value = np.array([900.0, 900.0, 900.0])
    assert rises.violation().max() == 0.0
