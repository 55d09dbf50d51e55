"""A UPS with a loss curve, a recharge limit, a walk-in, cells that last only so many kWh a day, and blocks to spare."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ems.assets.ups.block import UpsBlock, charge_limits_kw
from ems.assets.ups.envelope import ups_envelope
from ems.assets.ups.model import Ups, UpsState
from ems.errors import ConfigError
from ems.plan.planner import Planner
from ems.plan.verify import verify
from ems.site.load import load_site
from ems.site.model import Site
from simulators.devices.ups import UpsDevice
from tests.control.loop import Loop, even
from tests.plan.given import demo_site, plan_inputs

DEMO = Path(__file__).parents[2] / "config/sites/demo-2mw.yaml"
CURVE = [0.006, 0.01, 0.018]


def site_with(**ups: Any) -> Site:
    return load_site(DEMO, {"point_of_connection": {"import_limit_kw": 1450}, "assets": {"ups-1": ups}, "plan": {"horizon_h": 24}})


def ups_with(**ups: Any) -> Ups:
    return site_with(**ups).upses[0]


@settings(deadline=None)
@given(st.floats(420, 1600))
def test_the_loss_fraction_the_guard_uses_is_never_below_the_curve(load_kw: float) -> None:
    ups = ups_of_curve()
    assert ups.loss_kw(load_kw) <= ups.loss_fraction * load_kw + 1e-9


def ups_of_curve() -> Ups:
    return CURVED


CURVED = ups_with(loss_curve=CURVE)


def test_a_double_conversion_curve_has_its_textbook_efficiencies() -> None:
    ups = replace(CURVED, loss_curve=(0.0095, 0.0097, 0.0165))  # 94.5 / 96.5 / 96.8 / 96.5 % at 25 / 50 / 75 / 100 %, typical
    efficiency = [1 - ups.loss_kw(share * 1600) / (share * 1600) for share in (0.25, 0.5, 0.75, 1.0)]
    assert efficiency == pytest.approx([0.945, 0.965, 0.968, 0.965], abs=0.004)


def test_a_plan_follows_the_loss_curve_and_stands_its_check() -> None:
    site = site_with(loss_curve=CURVE)
    inputs = plan_inputs(site)
    plan = Planner(site).plan(inputs)
    assert verify(site, inputs, plan) == []
    carried = sum(np.array(plan.power_kw[c.id]) for c in site.clusters)
    untouched = sum(np.clip(inputs.load_q50_kw[c.id], c.idle_kw, c.rating_kw) for c in site.clusters)
    others = sum(np.array(plan.power_kw[k]) for k in ("bess-1", "ups-1")) + 30.0
    cooling = np.array([site.coolings[0].fraction(float(t)) for t in inputs.outdoor_temp_c]) * carried
    losses = np.array(plan.import_kw) - carried - others - cooling
    gap = losses - np.array([site.upses[0].loss_kw(kw) for kw in carried])
    faded = slice(12, None)  # an hour on, the lag of the cooling is over
    assert np.all(np.abs(gap)[faded] <= 0.018 * (carried - untouched)[faded] ** 2 / 1600 + 0.5)
    assert np.ptp(losses[faded]) > 5.0
    bent = replace(plan, import_kw=tuple(kw + 5.0 for kw in plan.import_kw))
    assert any("sum of its parts" in f for f in verify(site, inputs, bent))


def test_plant_and_plan_lose_the_same_at_every_load() -> None:
    device = UpsDevice(CURVED, random.Random(1))
    for load_kw in (0.0, 400.0, 900.0, 1600.0):
        device.step(1.0, 0.0, load_kw)
        assert device.loss_kw == pytest.approx(CURVED.loss_kw(load_kw))


def test_a_reserve_that_is_not_whole_is_recharged_at_the_recharge_limit() -> None:
    ups = ups_with(recharge_kw=40)
    hours = np.full(8, 0.25)
    limits = charge_limits_kw(ups, 350.0, 370.0, hours)
    assert limits[:2].tolist() == [40.0, 40.0] and limits[3:].tolist() == [100.0] * 5
    low = UpsState(0.0, 900.0, 0.0, 0.5, "normal", is_fresh=True)
    assert ups_envelope(ups, low, 1400.0, 77.0, 1000.0).high_kw == 40.0
    assert ups_envelope(ups_with(), low, 1400.0, 77.0, 1000.0).high_kw == 100.0


def test_nothing_is_commanded_while_a_load_walks_in() -> None:
    state = UpsState(0.0, 900.0, 0.0, 1.0, "normal", is_fresh=True)
    assert ups_envelope(ups_with(walk_in_s=120), state, 300.0, 77.0, 90.0).high_rule == "just after a transfer"
    assert ups_envelope(ups_with(), state, 300.0, 77.0, 90.0).high_rule != "just after a transfer"


def test_cells_give_no_more_in_a_day_than_they_may() -> None:
    ups = ups_with(cell_kwh_per_day=5, reserve_floor_kw=600)
    duration = cp.Parameter(4, nonneg=True, value=np.ones(4))
    block = UpsBlock(ups, duration, cp.Constant(np.full(4, 1000.0)))
    block.update(400.0, 200.0, np.ones(4), np.ones(4), 0.0, np.zeros(4))
    assert block.budget is not None
    block.budget.update(np.ones((1, 4)), 7, 400.0, ups.discharge_efficiency)
    problem = cp.Problem(cp.Maximize(cp.sum(block.discharge_kw)), [*block.constraints.values()])
    problem.solve(solver=cp.HIGHS)
    assert problem.value == pytest.approx(5.0)
    block.budget.update(np.ones((1, 4)), 7, 397.0, ups.discharge_efficiency)
    problem.solve(solver=cp.HIGHS)
    assert problem.value == pytest.approx(5.0 - 3.0 * 0.97)


def test_a_block_to_spare_is_not_counted_for_what_can_be_carried() -> None:
    whole, spare = ups_with(), ups_with(blocks=5, redundant_blocks=1, reserve_floor_kw=1100)
    assert (whole.firm_kw, spare.firm_kw) == (1600.0, 1280.0)
    assert spare.carried_kw(1.0) <= 1280.0
    with pytest.raises(ConfigError, match="hold without its redundant blocks"):
        site_with(blocks=4, redundant_blocks=2, reserve_floor_kw=700)


def test_an_outage_is_carried_by_the_battery_and_the_load_walks_back_in_a_line() -> None:
    device = UpsDevice(replace(CURVED, walk_in_s=20.0), random.Random(1))
    device.step(1.0, 0.0, 900.0)
    device.inject("input_lost", 61.0)
    inputs = []
    for k in range(1, 100):
        device.step(1.0, float(k), 900.0)
        assert k != 30 or device.read()["battery_kw"] == pytest.approx(-900.0, rel=2e-3)
        inputs.append(900.0 + device.power_kw)
    assert inputs[:58] == pytest.approx([0.0] * 58) and device.mode == "normal"
    rises = np.diff(inputs[60:80])
    assert rises.min() > 0.0 and rises.max() < 60.0
    assert inputs[-1] == pytest.approx(900.0 + CURVED.loss_kw(900.0))
    assert device.energy_kwh == pytest.approx(400.0 - 900.0 / 0.97 * 70 / 3600, abs=1.0)


def test_an_outage_in_closed_loop_breaks_no_limit_and_no_command_is_given_meanwhile() -> None:
    loop = Loop(site_with(loss_curve=CURVE, walk_in_s=20, recharge_kw=50), "plan", temp_c=20.0)
    for k in range(240):
        if k == 60:
            loop.plant.devices["ups-1"].inject("input_lost", loop.now.timestamp() + 60.0)
        decision = loop.cycle({"hall-a": even(350), "hall-b": even(170)})
        if 65 <= k < 120:
            assert decision.verdict.storage["ups-1"].high_rule == "UPS is on battery"
    assert loop.truth.over_s == 0.0 and loop.truth.export_s == 0.0
    assert loop.plant.upses[0].mode == "normal"


def test_a_plain_ups_has_a_plan_of_the_same_size_as_before() -> None:
    block = UpsBlock(demo_site().upses[0], cp.Parameter(4, nonneg=True), cp.Constant(np.full(4, 200.0)))
    assert len(block.constraints) == 7 and block.budget is None
    assert block.marginal_loss not in block.power_kw.parameters()
