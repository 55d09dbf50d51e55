"""Negative prices pay for burning energy: a store that charged and discharged at once would. None does."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from ems.plan.directions import OVERLAP_KW, overlaps
from ems.plan.inputs import PlanInputs
from ems.plan.planner import Planner
from ems.plan.verify import verify
from tests.plan.given import demo_site, plan_inputs


def negative_inputs() -> PlanInputs:
    """Deeply negative for hours: more than the battery can take."""
    inputs = plan_inputs(demo_site())
    price = np.array(inputs.import_price_per_kwh)
    price[5:45] = -0.6
    return replace(inputs, import_price_per_kwh=price)


def test_left_alone_the_linear_program_burns_energy_in_a_battery() -> None:
    planner, inputs = Planner(demo_site()), negative_inputs()
    planner.problem.update(inputs)
    solution = planner.engine.solve(inputs.horizon)
    assert overlaps(planner.problem.blocks.stores, partial(planner.engine.value, solution=solution))


def test_no_plan_charges_and_discharges_a_store_at_once() -> None:
    planner, inputs = Planner(demo_site()), negative_inputs()
    solutions = []
    solve = planner._solve
    planner._solve = lambda given: solutions.append(solve(given)) or solutions[-1]
    plan = planner.plan(inputs)
    assert verify(demo_site(), inputs, plan) == []
    for block in planner.problem.blocks.stores.values():
        charge, discharge = (planner.engine.value(v, solutions[-1]) for v in (block.charge_kw, block.discharge_kw))
        assert np.minimum(charge, discharge).max() <= OVERLAP_KW
    battery = demo_site().batteries[0]
    power, hours = np.array(plan.power_kw["bess-1"]), np.array(plan.duration_h)
    gained = hours * (battery.charge_efficiency * np.maximum(power, 0) - np.maximum(-power, 0) / battery.discharge_efficiency)
    assert np.allclose(np.diff(plan.energy_kwh["bess-1"]), gained, atol=0.02)


def test_the_limits_closed_for_one_plan_are_open_in_the_next() -> None:
    planner = Planner(demo_site())
    planner.plan(negative_inputs())
    fresh = Planner(demo_site())
    again, first = planner.plan(plan_inputs(demo_site())), fresh.plan(plan_inputs(demo_site()))
    assert abs(again.objective - first.objective) < 1e-6 * abs(first.objective)
