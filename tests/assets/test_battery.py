"""A battery with curves: power by charge and heat, wear by depth, a warranty, an end of life; from the site file to the plant."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import cvxpy as cp
import numpy as np
import pytest
import rainflow
from hypothesis import given, settings
from hypothesis import strategies as st

from ems.assets.battery.block import BatteryBlock
from ems.assets.battery.curves import band_widths, fill_bands, lines, move_bands, share_at
from ems.assets.battery.envelope import battery_envelope
from ems.assets.battery.model import Battery, BatteryState
from ems.errors import ConfigError
from ems.kpi.cycles import CycleWear, depth_cost
from ems.plan.planner import Planner
from ems.plan.problem import PlanProblem
from ems.plan.verify import verify
from ems.site.load import load_site
from ems.site.model import Site
from ems.timegrid import TimeGrid
from simulators.devices.battery import BatteryDevice
from tests.plan.given import demo_site, plan_inputs

DEMO = Path(__file__).parents[2] / "config/sites/demo-2mw.yaml"
CURVES: dict[str, Any] = {
    "charge_limit_by_soc": [[0, 1], [0.7, 1], [1, 0.1]],
    "discharge_limit_by_soc": [[0, 0], [0.6, 0.7], [1, 1]],
    "limit_by_ambient_c": [[35, 1], [55, 0]],
    "wear_by_depth": [[0.2, 0.01], [0.5, 0.03], [1, 0.08]],
    "warranty_kwh_per_day": 700,
}
BANDS = ((0.1, 0.01), (0.3, 0.02), (0.6, 0.04), (1.0, 0.08))
COURSES = st.lists(st.integers(0, 1000).map(lambda k: k / 1000), min_size=2, max_size=60)


def site_with(**battery: Any) -> Site:
    return load_site(DEMO, {"point_of_connection": {"import_limit_kw": 1370}, "assets": {"bess-1": battery}, "plan": {"horizon_h": 24}})


CURVED = site_with(**CURVES).batteries[0]


def counted(course: list[float], energy_kwh: float) -> float:
    """The same wear by the `rainflow` package: each cycle once, of the half cycles left over the discharges."""
    points = [a for a, b in pairwise([*course, None]) if a != b]
    if len(points) == 2:  # the package sees no range in two points
        points.insert(1, 0.5 * (points[0] + points[1]))
    money = 0.0
    for depth, _, count, first, last in rainflow.extract_cycles(points):
        if count == 1.0 or points[last] < points[first]:
            money += depth_cost(depth, BANDS, energy_kwh)
    return money


@settings(deadline=None)
@given(COURSES)
def test_wear_counted_as_the_energy_comes_in_is_that_of_the_rainflow_package(course: list[float]) -> None:
    kwh = [1000 * soc for soc in course]
    wear = CycleWear(BANDS, 1000.0)
    for value in kwh:
        wear.add(value)
    assert wear.money() == pytest.approx(counted(kwh, 1000.0), abs=1e-6)


@settings(deadline=None)
@given(COURSES)
def test_bands_moved_from_plan_to_plan_cost_what_rainflow_counts(course: list[float]) -> None:
    kwh = [1000 * soc for soc in course]
    widths = band_widths(BANDS, 1000.0)
    held, money = fill_bands(kwh[0], widths), 0.0
    for before, after in pairwise(kwh):
        moved = move_bands(held, after - before, widths)
        money += sum(price * max(0.0, a - b) for (_, price), a, b in zip(BANDS, held, moved, strict=True))
        held = moved
    assert money == pytest.approx(counted(kwh, 1000.0), abs=1e-6)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 1000).map(lambda k: k / 1000), min_size=9, max_size=9))
def test_the_plan_prices_a_course_of_energy_within_a_thousandth_of_its_rainflow_cycles(course: list[float]) -> None:
    battery = replace(
        demo_site().batteries[0], wear_by_depth=BANDS, wear_price_per_kwh=0.0, charge_efficiency=1.0, discharge_efficiency=1.0
    )
    kwh = np.array([1000 * soc for soc in course])
    n, hours = len(kwh) - 1, np.ones(len(kwh) - 1)
    duration = cp.Parameter(n, nonneg=True, value=hours)
    block = BatteryBlock(battery, duration)
    block.update(float(kwh[0]), hours, np.ones(n), 0.0, np.zeros(n))
    assert block.depth is not None
    cp.Problem(cp.Minimize(block.depth.cost), [*block.depth.constraints.values(), block.energy_kwh == kwh]).solve(solver=cp.HIGHS)
    assert block.depth.cost.value == pytest.approx(counted(list(kwh), 1000.0), rel=1e-3, abs=1e-3)


@settings(deadline=None)
@given(st.floats(0, 1))
def test_a_concave_curve_is_the_least_of_its_lines(soc: float) -> None:
    points = ((0.0, 0.2), (0.2, 0.9), (0.5, 1.0), (0.8, 1.0), (1.0, 0.1))
    assert min(1.0, *(at_empty + slope * soc for at_empty, slope in lines(points))) == pytest.approx(share_at(points, soc), abs=1e-9)


def test_a_plan_with_every_curve_stands_its_check_and_is_held_by_each_of_them() -> None:
    site = site_with(**CURVES)
    inputs = plan_inputs(site)
    hot = replace(inputs, outdoor_temp_c=np.full(inputs.horizon.n, 45.0))
    plan = Planner(site).plan(hot)
    assert verify(site, hot, plan) == []
    power, energy = np.array(plan.power_kw["bess-1"]), np.array(plan.energy_kwh["bess-1"])
    assert np.abs(power).max() <= 250.0 + 1e-6
    assert plan.cost["wear"] > 0.0
    bent = replace(plan, power_kw={**plan.power_kw, "bess-1": tuple(1.5 * power)})
    assert any("rating" in f for f in verify(site, hot, bent))
    full = replace(plan, energy_kwh={**plan.energy_kwh, "bess-1": tuple(np.maximum(energy, 940.0))})
    assert any("state of charge allows" in f or "nowhere" in f for f in verify(site, hot, full))


def test_each_curve_by_itself_makes_the_plan_dearer_and_never_cheaper() -> None:
    inputs = plan_inputs(site_with())
    hot = replace(inputs, outdoor_temp_c=np.full(inputs.horizon.n, 45.0))
    plain = Planner(site_with(wear_price_per_kwh=0.0)).plan(hot)
    for key, value in {**CURVES, "warranty_kwh_per_day": 100}.items():
        assert Planner(site_with(wear_price_per_kwh=0.0, **{key: value})).plan(hot).objective > plain.objective + 1e-6, key


def test_a_warranty_counts_what_today_has_given_already() -> None:
    site = site_with(warranty_kwh_per_day=300)
    planner, inputs = Planner(site), plan_inputs(site)
    first = planner.plan(inputs)
    today = discharged_today(first)
    later = replace(inputs, store_energy_kwh={**inputs.store_energy_kwh, "bess-1": inputs.store_energy_kwh["bess-1"] - 200 / 0.94})
    assert today <= 300 + 1e-3
    assert discharged_today(planner.plan(later)) <= 100 + 1e-3


def discharged_today(plan: Any) -> float:
    zone = ZoneInfo("America/Chicago")
    today = plan.starts[0].astimezone(zone).date()
    steps = zip(plan.starts, plan.power_kw["bess-1"], plan.duration_h, strict=True)
    return sum(max(0.0, -kw) * h for start, kw, h in steps if start.astimezone(zone).date() == today)


def test_a_site_that_uses_no_curve_has_a_plan_of_the_same_size_as_before() -> None:
    block = BatteryBlock(demo_site().batteries[0], cp.Parameter(4, nonneg=True))
    assert len(block.constraints) == 6 and block.depth is None and block.budget is None
    problem = PlanProblem(demo_site(), TimeGrid.covering(48)).problem
    assert not any("band" in str(c) for c in problem.constraints)


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 1), st.floats(-20, 60))
def test_the_envelope_never_allows_more_than_the_device_itself_can_do(soc: float, temp_c: float) -> None:
    battery = replace(CURVED, initial_soc=soc)
    device = BatteryDevice(battery, random.Random(1))
    device.step(1.0, 0.0, temp_c)
    said = device.read()
    state = BatteryState(0.0, device.soc, said["max_charge_kw"], said["max_discharge_kw"], is_fresh=True)
    envelope = battery_envelope(battery, state, 77.0, temp_c)
    assert envelope.high_kw <= battery.charge_limit_kw(device.soc, temp_c) + 1e-6
    assert envelope.low_kw >= -battery.discharge_limit_kw(device.soc, temp_c) - 1e-6


def test_a_hot_battery_gives_less_than_it_is_told() -> None:
    device = BatteryDevice(replace(site_with(**CURVES).batteries[0], initial_soc=0.5), random.Random(1))
    device.step(1.0, 0.0, 45.0)
    device.write("power_setpoint_kw", -500.0, 1.0)
    for k in range(30):
        device.step(1.0, 1.0 + k, 45.0)
    assert device.power_kw == pytest.approx(-250.0)


def test_a_worn_out_battery_is_never_moved() -> None:
    site = site_with(state_of_health=0.68, end_of_life_capacity=0.7)
    battery: Battery = site.batteries[0]
    assert battery.energy_kwh == pytest.approx(680.0) and battery.is_worn_out
    envelope = battery_envelope(battery, BatteryState(0.0, 0.5, 500.0, 500.0, is_fresh=True), 77.0)
    assert (envelope.low_kw, envelope.high_kw, envelope.low_rule) == (0.0, 0.0, "end of life")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("charge_limit_by_soc", [[0, 1], [0.5, 0.5], [1, 0.4], [1.2, 0]], "from 0 to 1"),
        ("charge_limit_by_soc", [[0, 1], [0.5, 0.2], [1, 0.9]], "steeper upwards"),
        ("limit_by_ambient_c", [[40, 1], [30, 0]], "rising temperatures"),
        ("wear_by_depth", [[0.5, 0.05], [1, 0.01]], "never fall"),
        ("wear_by_depth", [[0.5, 0.05]], "last depth 1"),
        ("warranty_kwh_per_day", 0, "a number > 0"),
    ],
)
def test_a_curve_that_cannot_be_is_one_clear_line(key: str, value: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        site_with(**{key: value})
