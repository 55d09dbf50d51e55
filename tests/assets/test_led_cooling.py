"""A plant whose supply may be led: the device, what the guard allows, and pre-cooling in closed loop."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ems.assets.cooling.envelope import led_power, supply_envelope
from ems.assets.cooling.model import Cooling, CoolingState
from ems.control.orders import OrderBook
from ems.errors import ConfigError, EmsError
from ems.messages import Mode, Order, OrderKind
from ems.plan.plan import Plan, encode_plan
from ems.site.model import Site
from ems.state.image import SiteImage
from simulators.devices.chilled_water import LedChilledWaterDevice
from simulators.errors import Refused
from simulators.plant import Plant
from tests.assets.test_cooling import site_with
from tests.control.loop import START, Loop, even
from tests.control.plans import STEPS, flat_plan

LED: dict[str, Any] = {"supply_lowest_c": 18, "has_economiser": False}
SITE = site_with(**LED)
COOLING: Cooling = SITE.coolings[0]


def device() -> LedChilledWaterDevice:
    plant = LedChilledWaterDevice(COOLING, random.Random(1))
    steps(plant, 0, 600)
    return plant


def steps(plant: LedChilledWaterDevice, first_s: int, last_s: int, heat_kw: float = 700.0) -> list[float]:
    power = []
    for k in range(first_s, last_s, 5):
        plant.step(5.0, float(k), heat_kw, 30.0)
        power.append(plant.power_kw)
    return power


def test_a_lower_setpoint_costs_power_now_and_saves_it_later() -> None:
    led, idle = device(), device()
    led.write("supply_setpoint_c", 20.0, 600.0)
    ahead = alone = saved = 0.0
    for k in range(600, 3600, 5):
        led.keep_alive(float(k))
        led.step(5.0, float(k), 700.0, 30.0)
        idle.step(5.0, float(k), 700.0, 30.0)
        ahead, alone = ahead + led.power_kw, alone + idle.power_kw
    assert led.supply_temp_c == pytest.approx(20.0, abs=0.2) and ahead > alone * 1.05
    led.write("supply_setpoint_c", 24.0, 3600.0)
    for k in range(3600, 6000, 5):
        led.keep_alive(float(k))
        led.step(5.0, float(k), 700.0, 30.0)
        idle.step(5.0, float(k), 700.0, 30.0)
        saved += idle.power_kw - led.power_kw
    assert led.supply_temp_c == pytest.approx(24.0, abs=0.2)
    assert 0.0 < saved < ahead - alone  # never a gain out of nothing


def test_without_its_master_the_supply_goes_back_to_the_commissioned_one_and_draws_less_meanwhile() -> None:
    led = device()
    led.write("supply_setpoint_c", 20.0, 600.0)
    steps(led, 600, 640)
    assert led.commands() == {"supply_setpoint_c": 20.0}
    steps(led, 640, 700)
    assert led.commands() == {"supply_setpoint_c": 24.0}
    steps(led, 700, 900)
    assert max(steps(led, 900, 2400)) <= max(steps(device(), 600, 900)) + 1.0


@pytest.mark.parametrize("value", [10.0, 40.0, float("nan")])
def test_the_device_refuses_what_it_cannot_do(value: float) -> None:
    with pytest.raises(Refused):
        device().write("supply_setpoint_c", value, 600.0)


def state(**changes: Any) -> CoolingState:
    return replace(CoolingState(120.0, 30.0, True, 24.0, 1800.0, dew_point_c=12.0), **changes)


@pytest.mark.parametrize(
    ("seen", "rule"),
    [
        (state(is_fresh=False), "device not trusted"),
        (state(supply_temp_c=None), "device not trusted"),
        (state(outdoor_temp_c=None), "device not trusted"),
        (state(able_kw=600.0), "units missing"),
        (state(supply_temp_c=26.0), "the loop is warm"),
        (state(dew_point_c=None), "its dew point is not measured"),
        (state(dew_point_c=None, supply_temp_c=19.0), "its dew point is not measured"),
    ],
)
def test_a_plant_that_is_not_well_is_left_as_commissioned(seen: CoolingState, rule: str) -> None:
    envelope = supply_envelope(COOLING, seen, 700.0, 400.0, None, 1.0)
    assert (envelope.low_c, envelope.high_c, envelope.low_rule) == (24.0, 24.0, rule)


@settings(deadline=None)
@given(st.floats(10, 30), st.floats(-20, 35), st.floats(0, 1800), st.floats(0, 600), st.floats(0, 1800), st.none() | st.floats(16, 26))
def test_the_supply_is_never_sent_above_the_commissioned_or_into_the_dew(
    supply_c: float, dew_c: float, heat_kw: float, most_kw: float, able_kw: float, last_c: float | None
) -> None:
    seen = state(supply_temp_c=supply_c, dew_point_c=dew_c, able_kw=able_kw)
    envelope = supply_envelope(COOLING, seen, heat_kw, most_kw, last_c, 5.0)
    assert COOLING.plant is not None
    as_fast_as_it_may_c = (supply_c if last_c is None else last_c) + 0.5 * 5.0 / 60.0
    coldest_c = min(24.0, max(18.0, dew_c + 2.0))
    assert min(coldest_c, as_fast_as_it_may_c) <= envelope.low_c <= envelope.high_c <= 24.0


def test_the_dew_point_bounds_by_its_measured_value_and_a_rising_one_leads_the_supply_back_at_its_rate() -> None:
    wide = {"heat_kw": 500.0, "most_kw": 900.0, "cycle_s": 60.0}
    near = supply_envelope(COOLING, state(dew_point_c=21.8), last_c=24.0, **wide)
    assert (near.low_c, near.low_rule) == (pytest.approx(23.8), "2 K above the dew point")
    assert supply_envelope(COOLING, state(dew_point_c=3.0, supply_temp_c=18.0), last_c=18.1, **wide).low_rule == "lowest supply"
    last_c, course = 19.0, []
    for _ in range(12):
        risen = supply_envelope(COOLING, state(supply_temp_c=19.0, dew_point_c=21.0), last_c=last_c, **wide)
        last_c = risen.low_c
        course.append(risen.low_c)
    assert course[:8] == pytest.approx([19.5, 20.0, 20.5, 21.0, 21.5, 22.0, 22.5, 23.0])
    assert course[8:] == pytest.approx([23.0] * 4)


def test_the_supply_moves_at_most_at_its_rate_and_within_the_power_counted_for_cooling() -> None:
    assert supply_envelope(COOLING, state(), 500.0, 900.0, 24.0, 60.0).low_c == pytest.approx(23.5)
    narrow = supply_envelope(COOLING, state(), 700.0, 130.0, 24.0, 60.0)
    assert narrow.low_c > 23.5 and narrow.low_rule == "power and units left for cooling ahead"
    assert supply_envelope(COOLING, state(), 1300.0, 900.0, 24.0, 60.0).low_c == 24.0  # no firm unit left


def test_the_guard_counts_what_cooling_ahead_will_take_and_not_what_a_warming_loop_saves() -> None:
    seen = state(power_kw=120.0)
    follows_kw, ahead_kw = led_power(COOLING, seen, 700.0, 23.5)
    assert follows_kw + ahead_kw > 120.0 and ahead_kw > 20.0
    risen_kw = follows_kw + ahead_kw
    assert sum(led_power(COOLING, replace(seen, power_kw=risen_kw), 700.0, 23.5)) == pytest.approx(risen_kw)  # never counted twice
    warming = replace(seen, power_kw=60.0, supply_temp_c=20.0)
    assert led_power(COOLING, warming, 700.0, 23.0)[0] > 100.0
    assert led_power(COOLING, seen, 700.0, None) == (120.0, 0.0)


def pre_cooling(site: Site, now: datetime, to_c: float = 20.0) -> Plan:
    """Down to `to_c` within half an hour and back within the next."""
    course = [24.0 + (to_c - 24.0) * min(k, STEPS - k) / (STEPS / 2) for k in range(STEPS + 1)]
    return replace(flat_plan(site, now), supply_temp_c={"cooling-1": tuple(course)}, valid_until=now + timedelta(hours=2))


def run(site: Site, plan: Plan, demand_kw: float, cycles: int = 700, dew_c: float = 12.0) -> tuple[Loop, list[float]]:
    loop = Loop(replace(site, control=replace(site.control, cycle_s=5.0)), "plan", temp_c=30.0)
    loop.dew_c = dew_c
    course = []
    for k in range(cycles):
        loop.cycle({"hall-a": even(demand_kw), "hall-b": even(demand_kw / 2)}, [("plan", encode_plan(plan))] if k == 0 else [])
        course.append(loop.plant.coolings[0].supply_temp_c)  # type: ignore[union-attr]
    return loop, course


def test_the_plant_follows_the_planned_course_of_its_supply() -> None:
    loop, course = run(SITE, pre_cooling(SITE, START), 300.0)
    assert min(course) == pytest.approx(20.0, abs=0.5)
    assert 300 < course.index(min(course)) < 420  # half an hour after the start
    assert course[-1] > 23.0
    assert loop.truth.over_s == 0.0 and loop.field.refused == 0


def test_a_plan_made_for_drier_air_is_held_two_kelvin_above_the_dew_point_that_is_measured() -> None:
    loop, course = run(SITE, pre_cooling(SITE, START), 300.0, dew_c=20.0)
    assert min(course) == pytest.approx(22.0, abs=0.15) and not loop.plant.coolings[0].is_too_cold  # type: ignore[union-attr]
    assert any("bounded by 2 K above the dew point" in s.reason for d in loop.decisions for s in d.setpoints)


def test_a_plant_whose_dew_point_is_lost_goes_back_to_its_commissioned_supply_and_the_reason_says_so() -> None:
    loop, course = run(SITE, pre_cooling(SITE, START), 300.0, cycles=240)
    assert course[-1] < 22.0
    whole = loop.field.image

    def without_a_dew_point(now: datetime) -> SiteImage:
        image = whole(now)
        return replace(image, readings={a: {p: r for p, r in said.items() if p != "dew_point_c"} for a, said in image.readings.items()})

    loop.field.image = without_a_dew_point  # type: ignore[method-assign]
    told = [loop.cycle({"hall-a": even(300), "hall-b": even(150)}).setpoints for _ in range(200)]
    sent = [s for setpoints in told for s in setpoints if s.command == "supply_setpoint_c"]
    assert {s.power_kw for s in sent} == {24.0} and all("its dew point is not measured" in s.reason for s in sent)
    assert loop.plant.coolings[0].supply_temp_c > 23.0  # type: ignore[union-attr]


def test_at_the_limit_work_comes_before_cooling_ahead() -> None:
    loop, course = run(SITE, pre_cooling(SITE, START), 640.0, cycles=240)
    said = {s.reason for d in loop.decisions[60:] for s in d.setpoints if s.command == "supply_setpoint_c"}
    assert any("gives way to work" in reason for reason in said)
    assert min(course) > 23.0 and loop.truth.over_s == 0.0


def test_a_plan_that_leads_what_may_not_be_led_is_refused() -> None:
    plain = site_with()
    loop = Loop(plain, "plan")
    decision = loop.cycle({"hall-a": even(300), "hall-b": even(100)}, [("plan", encode_plan(pre_cooling(plain, START)))])
    assert any("supply that may not be led" in alarm for alarm in decision.alarms)


def test_an_override_by_power_is_refused_and_a_stop_goes_back_to_commissioned() -> None:
    book = OrderBook({"cooling-1": Mode.CONTROL}, frozenset({"cooling-1"}))
    order = Order(OrderKind.OVERRIDE, "cooling-1", "Ada Byron", "test", START, kw=100.0, until=START + timedelta(hours=1))
    with pytest.raises(EmsError, match="supply temperature"):
        book.take(order)
    loop, _ = run(SITE, pre_cooling(SITE, START), 300.0, cycles=200)
    loop.controller.orders.take(Order(OrderKind.STOP, "cooling-1", "Ada Byron", "test", START))
    decision = loop.cycle({"hall-a": even(300), "hall-b": even(150)})
    (setpoint,) = [s for s in decision.setpoints if s.command == "supply_setpoint_c"]
    assert setpoint.power_kw == 24.0 and "stopped" in setpoint.reason


def test_a_lowest_supply_above_the_commissioned_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="less than supply_temp_c"):
        site_with(supply_lowest_c=25)


@pytest.mark.parametrize(
    ("dew_c", "supply_c", "is_too_cold"), [(9.0, 16.0, False), (15.0, 16.0, True), (14.0, 16.0, False), (23.5, 24.0, False)]
)
def test_a_supply_counts_as_too_cold_where_it_was_led_nearer_to_the_dew_point_than_is_dry(
    dew_c: float, supply_c: float, is_too_cold: bool
) -> None:
    plant = Plant(SITE, 7)
    (device,) = plant.coolings
    assert isinstance(device, LedChilledWaterDevice)
    device.supply_temp_c = supply_c
    step = plant.step(1.0, START, dict.fromkeys(("hall-a", "hall-b"), even(300.0)), 30.0, dew_c)
    assert step.dew_breach_s == float(is_too_cold)
    assert device.read()["dew_point_c"] == dew_c
