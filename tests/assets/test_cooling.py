"""A chilled-water plant: what it draws, what it leaves of a trip, in plan, guard and plant."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ems.assets.cooling.model import Cooling
from ems.assets.cooling.plant import (
    RESTARTS,
    CoolingPlant,
    heat_allowed_kw,
    heat_until_limit_kwh,
    runway_s,
    wet_bulb_c,
)
from ems.control import snapshot as snapshot_module
from ems.errors import ConfigError
from ems.plan.planner import Planner
from ems.plan.verify import verify
from ems.site.load import load_site
from ems.site.model import Site
from ems.site.resolved import site_from_json, site_to_json
from simulators.devices.chilled_water import ChilledWaterDevice, psychrometer_c
from tests.control.loop import Loop, even
from tests.plan.given import plan_inputs

DEMO = Path(__file__).parents[2] / "config/sites/demo-2mw.yaml"
PLANT: dict[str, Any] = {"capacity_kw": 1800, "units": 3, "redundant_units": 1, "pump_fan_kw": 30, "loop_m3": 30, "humidity": 0.3}


def site_with(**plant: Any) -> Site:
    link = {"page": "generic-chilled-water-plant", "host": "127.0.0.1", "port": 15025}
    cooling = {"plant": {**PLANT, **plant}, "link": link, "lag_s": 60}
    return load_site(DEMO, {"point_of_connection": {"import_limit_kw": 1450}, "assets": {"cooling-1": cooling}, "plan": {"horizon_h": 24}})


def cooling_with(**plant: Any) -> Cooling:
    return site_with(**plant).coolings[0]


def plant_with(**plant: Any) -> CoolingPlant:
    found = cooling_with(**plant).plant
    assert found is not None
    return found


USUAL = plant_with()


@pytest.mark.parametrize(("dry_c", "humidity", "wet_c"), [(20.0, 0.5, 13.7), (30.0, 0.5, 22.0), (40.0, 0.2, 22.1), (10.0, 0.9, 9.1)])
def test_wet_bulbs_are_those_of_the_chart(dry_c: float, humidity: float, wet_c: float) -> None:
    assert wet_bulb_c(dry_c, humidity) == pytest.approx(wet_c, abs=1.0)  # what the formula promises


@pytest.mark.parametrize(("dew_c", "coldest_c"), [(None, 24.0), (-10.0, 16.0), (14.5, 16.5), (21.0, 23.0), (26.0, 24.0)])
@pytest.mark.parametrize("humidity", [0.3, 1.0])
def test_the_coldest_supply_is_two_kelvin_above_a_measured_dew_point_whatever_the_humidity(
    dew_c: float | None, coldest_c: float, humidity: float
) -> None:
    assert plant_with(supply_lowest_c=16, humidity=humidity).coldest_c(dew_c) == coldest_c


@settings(deadline=None)
@given(st.floats(50, 1800), st.floats(-10, 45))
def test_the_share_the_guard_uses_is_never_below_the_plant_and_colder_weather_never_costs_more(heat_kw: float, temp_c: float) -> None:
    cooling = replace(USUAL_COOLING, least_heat_kw=420.0)
    assert cooling.fraction(temp_c) * max(heat_kw, 420.0) >= USUAL.power_kw(max(heat_kw, 420.0), temp_c) * 0.98
    assert USUAL.power_kw(heat_kw, temp_c) <= USUAL.power_kw(heat_kw, temp_c + 3.0) + 1e-9


USUAL_COOLING = cooling_with()


def test_the_economiser_carries_the_heat_in_the_cold_and_pumps_follow_the_cube() -> None:
    assert USUAL.power_kw(900.0, 5.0) == pytest.approx(30.0 * 0.5**3)
    assert USUAL.power_kw(1800.0, 5.0) == pytest.approx(30.0)
    assert plant_with(has_economiser=False).power_kw(900.0, 5.0) > 80.0
    assert 900.0 / (USUAL.power_kw(900.0, 38.0) - 30.0 * 0.5**3) == pytest.approx(6.0, abs=0.6)


def test_runways_are_those_of_the_books() -> None:
    ten_m3_per_mw = plant_with(loop_m3=10, supply_temp_c=24, supply_limit_c=30)
    assert runway_s(ten_m3_per_mw, 1000.0, 0.0, 24.0) == pytest.approx(251.0, abs=1.0)
    assert runway_s(ten_m3_per_mw, 1000.0, 500.0, 24.0) == pytest.approx(502.0, abs=1.5)
    assert math.isinf(runway_s(ten_m3_per_mw, 1000.0, 1000.0, 24.0))
    assert runway_s(ten_m3_per_mw, 1000.0, 0.0, 31.0) == 0.0


@settings(deadline=None)
@given(st.floats(0, 1800), st.floats(0, 600), st.floats(24, 32))
def test_heat_held_at_what_is_allowed_never_crosses_the_limit_of_the_loop(able_kw: float, seconds: float, supply_c: float) -> None:
    for _ in range(int(seconds)):
        heat_kw = heat_allowed_kw(USUAL, able_kw, supply_c)
        supply_c += (heat_kw - able_kw) / 3600.0 / USUAL.loop_kwh_per_k
    assert supply_c <= USUAL.supply_limit_c + 1e-9


@settings(deadline=None)
@given(st.floats(1, 400), st.floats(600, 1800), st.floats(100, 500), st.floats(24, 28), st.floats(0, RESTARTS))
def test_heat_on_its_way_and_idle_heat_are_counted_so_that_a_second_restart_still_finds_the_loop_in_bounds(
    lag_s: float, before_kw: float, idle_kw: float, supply_c: float, restarts: float
) -> None:
    plant, coming_kw, idle_alone_c = plant_with(loop_m3=30), before_kw, supply_c
    for _ in range(int(restarts * plant.restart_s)):
        heat_kw = max(idle_kw, heat_allowed_kw(plant, 0.0, supply_c, lag_s * coming_kw / 3600.0, idle_kw))
        coming_kw += (min(before_kw, heat_kw) - coming_kw) / lag_s
        supply_c += coming_kw / 3600.0 / plant.loop_kwh_per_k
    whole_kwh = idle_kw * RESTARTS * plant.restart_s / 3600.0 + lag_s * before_kw / 3600.0
    if heat_until_limit_kwh(plant, idle_alone_c) >= whole_kwh:  # else idle power alone takes it over
        assert supply_c <= plant.supply_limit_c + 1e-6


def test_a_plan_follows_the_plant_and_stands_its_check() -> None:
    site = site_with()
    inputs = plan_inputs(site)
    plan = Planner(site).plan(inputs)
    assert verify(site, inputs, plan) == []
    bent = replace(plan, import_kw=tuple(kw + 3.0 for kw in plan.import_kw))
    assert any("sum of its parts" in f for f in verify(site, inputs, bent))
    cold = Planner(site).plan(replace(inputs, outdoor_temp_c=np.full(inputs.horizon.n, 5.0), cooling_kw=None))
    warm = Planner(site).plan(replace(inputs, outdoor_temp_c=np.full(inputs.horizon.n, 38.0), cooling_kw=None))
    assert cold.cost["energy"] < 0.95 * warm.cost["energy"]


def test_the_simulated_plant_draws_what_the_plan_expects_within_a_fifth_and_never_below_the_bound() -> None:
    for temp_c in (0.0, 8.0, 15.0, 22.0, 30.0, 38.0):
        for heat_kw in (450.0, 900.0, 1400.0):
            device = ChilledWaterDevice(USUAL_COOLING, random.Random(1))
            for k in range(240):
                device.step(5.0, 5.0 * k, heat_kw, temp_c)
            planned_kw = USUAL.power_kw(heat_kw, temp_c)
            assert device.supply_temp_c == pytest.approx(24.0, abs=0.3)
            assert abs(device.power_kw - planned_kw) <= 0.2 * planned_kw + 0.03 * heat_kw, (temp_c, heat_kw)


def test_both_wet_bulbs_agree_within_a_kelvin_and_a_half() -> None:
    for temp_c in range(-5, 45, 5):
        assert psychrometer_c(temp_c, 0.4) == pytest.approx(wet_bulb_c(temp_c, 0.4), abs=1.5)


def test_after_a_trip_the_plant_is_off_for_its_restart_and_comes_back_machine_by_machine() -> None:
    device = ChilledWaterDevice(USUAL_COOLING, random.Random(1))
    device.step(1.0, 0.0, 900.0, 30.0)
    device.inject("trip", 10.0)
    able = []
    for k in range(1, 420):
        device.step(1.0, float(k), 500.0, 30.0)
        able.append(device.read()["heat_capacity_kw"])
    assert able[0] == 0.0 and able[300] == 0.0
    assert sorted({round(kw) for kw in able}) == [0, 600, 1200, 1800]


def test_it_power_follows_a_chiller_trip_and_no_chip_gets_too_warm() -> None:
    site = site_with(loop_m3=12)
    loop = Loop(site, "plan", temp_c=35.0)
    device = loop.plant.coolings[0]
    warmest, shed = 0.0, 1e9
    for k in range(900):
        if k == 60:
            device.inject("trip", loop.now.timestamp() + 60.0)
        loop.cycle({"hall-a": even(500), "hall-b": even(280)})
        assert isinstance(device, ChilledWaterDevice)
        warmest = max(warmest, device.supply_temp_c)
        shed = min(shed, sum(c.power_kw for c in loop.plant.clusters)) if 100 < k < 400 else shed
    assert 28.0 < warmest < site.coolings[0].plant.supply_limit_c  # type: ignore[union-attr]
    assert shed < 900.0 < sum(c.power_kw for c in loop.plant.clusters)
    assert loop.truth.over_s == 0.0


def test_without_following_it_the_same_trip_overheats_the_loop() -> None:
    device = ChilledWaterDevice(cooling_with(loop_m3=12), random.Random(1))
    for k in range(400):
        if k == 60:
            device.inject("trip", 120.0)
        device.step(1.0, float(k), 1200.0, 35.0)
    assert device.is_too_warm


def test_a_plant_too_small_without_its_redundant_units_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="without its redundant units"):
        site_with(capacity_kw=1200)
    bare = tmp_path / "bare.yaml"
    bare.write_text(DEMO.read_text().replace("    fraction_at_10c: 0.12\n", ""))
    with pytest.raises(ConfigError, match="or a plant"):
        load_site(bare)


def test_a_site_with_a_plant_survives_its_journey_as_json() -> None:
    site = site_with()
    assert site_from_json(site_to_json(site)) == site


def test_the_snapshot_says_how_long_the_loop_lasts_during_a_trip() -> None:
    site = site_with()
    loop = Loop(site, "plan", temp_c=30.0)
    before = details_of(loop)
    loop.plant.coolings[0].inject("trip", loop.now.timestamp() + 60.0)
    for _ in range(5):
        during = details_of(loop)
    assert before["runway_s"] is None and before["able_kw"] == 1800.0
    assert during["able_kw"] == 0.0 and 200 < during["runway_s"] < 2000


def details_of(loop: Loop) -> dict[str, Any]:
    decision = loop.cycle({"hall-a": even(350), "hall-b": even(170)})
    return snapshot_module._cooling_details(loop.site.coolings[0], decision)
