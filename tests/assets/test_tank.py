"""A stratified tank beside the loop of a plant that is led: what it stores and loses, in plan, check, guard and simulated plant."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ems.assets.cooling.block import ColdStore
from ems.assets.cooling.plant import KWH_PER_M3_K, CoolingPlant, heat_allowed_kw, runway_s
from ems.errors import ConfigError
from ems.plan.inputs import PlanInputs
from ems.plan.planner import Planner
from ems.plan.verify import verify
from ems.site.model import Site
from ems.site.resolved import site_from_json, site_to_json
from simulators.devices.chilled_water import LedChilledWaterDevice
from tests.assets.test_cooling import site_with
from tests.assets.test_led_cooling import pre_cooling, run
from tests.control.loop import START
from tests.plan.given import plan_inputs

LED: dict[str, Any] = {"supply_lowest_c": 16, "has_economiser": False, "humidity": 0.3, "supply_rate_k_per_min": 0.1}
LOOP_ONLY = site_with(**LED)
TANK = site_with(**LED, tank_m3=200, tank_usable_share=0.85, tank_loss_per_day=0.05)
LEAKY = site_with(**LED, tank_m3=200, tank_usable_share=0.85, tank_loss_per_day=0.6)


def plant_of(site: Site) -> CoolingPlant:
    plant = site.coolings[0].plant
    assert plant is not None
    return plant


def inputs_of(site: Site, supply_c: float = 24.0) -> PlanInputs:
    """Prices three times as high, dear for four hours in the afternoon."""
    inputs = plan_inputs(site)
    at_h = np.r_[0.0, np.cumsum(inputs.horizon.duration_h)[:-1]]
    dear = np.where((at_h >= 8.0) & (at_h < 12.0), 0.5, 0.05)
    return replace(
        inputs, import_price_per_kwh=dear, supply_temp_c={"cooling-1": supply_c}, dew_point_c={"cooling-1": np.full(inputs.horizon.n, 11.0)}
    )


def test_a_tank_stores_its_usable_water_beside_the_loop_and_without_one_nothing_is_lost() -> None:
    plant, alone = plant_of(TANK), plant_of(LOOP_ONLY)
    assert plant.store_kwh_per_k == pytest.approx((30.0 + 170.0) * KWH_PER_M3_K)
    assert plant.store_loss_per_h == pytest.approx(0.05 / 24.0 * 170.0 / 200.0)
    assert alone.store_kwh_per_k == alone.loop_kwh_per_k and alone.store_loss_per_h == 0.0
    assert site_from_json(site_to_json(TANK)) == TANK


@pytest.mark.parametrize(
    "keys", [{"tank_m3": 50}, {**LED, "tank_m3": 50, "tank_usable_share": 0}, {**LED, "tank_m3": -1}, {**LED, "tank_m3": 5000}]
)
def test_a_tank_that_cannot_be_is_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as refused:
        site_with(**keys)
    assert len(str(refused.value).splitlines()) == 1 and "tank_" in str(refused.value)


def test_a_plan_fills_the_tank_before_dear_hours_and_gives_it_back_in_them() -> None:
    inputs = inputs_of(TANK)
    tank, alone = Planner(TANK).plan(inputs), Planner(LOOP_ONLY).plan(inputs)
    assert verify(TANK, inputs, tank) == []
    assert tank.objective < alone.objective - 5.0
    course = np.array(tank.supply_temp_c["cooling-1"])
    cold_kwh = (24.0 - course) * plant_of(TANK).store_kwh_per_k
    at_h = np.r_[0.0, np.cumsum(tank.duration_h)]
    assert np.interp(8.0, at_h, cold_kwh) > 300.0 > 8.0 * plant_of(LOOP_ONLY).loop_kwh_per_k  # more than the loop could ever hold
    assert np.interp(12.0, at_h, cold_kwh) < 0.6 * np.interp(8.0, at_h, cold_kwh)  # the rest is kept for the month's peak


def test_a_leaky_tank_is_worth_less_and_its_loss_is_in_the_check() -> None:
    inputs = inputs_of(TANK)
    good, leaky = Planner(TANK).plan(inputs), Planner(LEAKY).plan(inputs)
    assert verify(LEAKY, inputs, leaky) == [] and leaky.objective > good.objective + 0.5
    assert any("import is not the sum" in fault for fault in verify(LEAKY, inputs, good))  # cold that keeps too well


@settings(deadline=None, max_examples=6)
@given(st.floats(14.0, 28.0), st.floats(5.0, 38.0))
def test_every_plan_stands_its_check_from_wherever_the_tank_stands(supply_c: float, outdoor_c: float) -> None:
    inputs = inputs_of(LEAKY, supply_c)
    inputs = replace(inputs, outdoor_temp_c=np.full(inputs.horizon.n, outdoor_c))
    course = np.array(PLANNER.plan(inputs).supply_temp_c["cooling-1"])  # checked by the planner
    assert course.max() <= 24.0 + 1e-6


PLANNER = Planner(LEAKY)


def test_by_hand_what_is_stored_decays_and_kept_whole_it_breaks_the_balance() -> None:
    hours = np.array([0.5, 1.0])
    store = ColdStore(plant_of(LEAKY), cp.Parameter(2, nonneg=True, value=hours))
    store.update(np.full(2, 30.0), np.full(2, 9.0), np.full(2, 900.0), 22.0, hours, 0.1)
    now = 2.0 * plant_of(LEAKY).store_kwh_per_k
    kept = [math.exp(-0.6 / 24.0 * 0.85 * h) for h in hours]
    store.charge_kw.value, store.discharge_kw.value = np.array([100.0, 0.0]), np.zeros(2)
    store.cold_kwh.value = np.array([now, kept[0] * now + 50.0, kept[1] * (kept[0] * now + 50.0)])
    assert all(c.violation().max() < 1e-9 for c in store.constraints.values())
    store.cold_kwh.value = np.array([now, now + 50.0, now + 50.0])
    assert store.constraints["heat balance of the loop"].violation().max() > 1.0


def test_in_an_emergency_only_the_loop_is_counted_on() -> None:
    plant, alone = plant_of(TANK), plant_of(LOOP_ONLY)
    assert heat_allowed_kw(plant, 600.0, 18.0) == heat_allowed_kw(alone, 600.0, 24.0) < heat_allowed_kw(alone, 600.0, 18.0)
    assert runway_s(plant, 900.0, 0.0, 18.0) == runway_s(alone, 900.0, 0.0, 24.0)
    assert runway_s(plant, 900.0, 0.0, 28.0) == runway_s(alone, 900.0, 0.0, 28.0)


def device(site: Site) -> LedChilledWaterDevice:
    plant = LedChilledWaterDevice(site.coolings[0], random.Random(1))
    go(plant, 0, 600)
    return plant


def go(plant: LedChilledWaterDevice, first_s: int, last_s: int, heat_kw: float = 700.0) -> float:
    """Electrical kWh."""
    kwh = 0.0
    for k in range(first_s, last_s, 5):
        plant.keep_alive(float(k))
        plant.step(5.0, float(k), heat_kw, 30.0)
        kwh += plant.power_kw * 5.0 / 3600.0
    return kwh


def test_a_simulated_tank_takes_its_share_of_heat_loses_some_and_gives_no_more_than_it_took() -> None:
    led, idle = device(TANK), device(TANK)
    led.write("supply_setpoint_c", 20.0, 600.0)
    ahead = go(led, 600, 12_000) - go(idle, 600, 12_000)
    assert led.supply_temp_c == pytest.approx(20.0, abs=0.2) and ahead > 50.0  # 930 kWh of cold
    led.write("supply_setpoint_c", 24.0, 12_000.0)
    saved = go(idle, 12_000, 24_000) - go(led, 12_000, 24_000)
    assert led.supply_temp_c == pytest.approx(24.0, abs=0.2)
    assert 0.4 * ahead < saved < 0.8 * ahead  # made 8 K colder than the loop needs it, for the most part


def test_a_simulated_tank_left_alone_warms_by_its_loss_and_a_spent_one_as_the_loop() -> None:
    led = device(LEAKY)
    led.supply_temp_c = 20.0
    led._warm(0.0)
    led._lose(3600.0)
    assert led.supply_temp_c == pytest.approx(20.0 + 4.0 * 0.6 / 24.0 * 0.85)
    led.supply_temp_c = 23.0
    led._warm(3600.0 * (1.0 * 200.0 + 2.0 * 30.0) * 4180.0 / 3600.0)  # one K of all of it, then two of the loop
    assert led.supply_temp_c == pytest.approx(26.0)


def test_in_closed_loop_the_mean_of_the_tank_follows_its_course_within_the_limit() -> None:
    site = site_with(**{**LED, "supply_rate_k_per_min": 0.5}, tank_m3=40)
    loop, course = run(site, pre_cooling(site, START, 22.0), 300.0, cycles=520)
    assert min(course) == pytest.approx(22.0, abs=0.3) and 300 < course.index(min(course)) < 430
    assert course[-1] > 22.5 and loop.truth.over_s == 0.0 and loop.field.refused == 0
