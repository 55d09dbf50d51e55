"""Loops of chilled water whose plant falls silent, or whose supply sensor lies: what is believed, and what the halls may give off."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ems.alarms import kind_of
from ems.assets.cooling.plant import CATCH_UP_S
from ems.control.controller import Controller
from ems.control.plan_state import plan_state
from ems.guard.degraded import Degraded, Facts
from ems.guard.loops import DOUBT_K, HELD_S, Loops, LoopWatch
from ems.messages import Mode
from ems.reading import Reading
from ems.site.load import load_site
from ems.site.model import Site
from ems.state.estimate import SiteState, estimate_state
from ems.state.image import SiteImage
from simulators.devices.chilled_water import LedChilledWaterDevice
from simulators.errors import Refused
from simulators.plant import Demand
from tests.assets.test_cooling import site_with
from tests.control.loop import ROOT, Loop

NOW = datetime(2024, 8, 19, 5, tzinfo=UTC)
PLANT = "cooling-1"
LED_SITE = site_with(supply_lowest_c=18, has_economiser=False)


@lru_cache(maxsize=4)
def edge(restart_s: float = 480.0, lag_s: float = 120.0) -> Site:
    site = load_site(ROOT / "config/sites/edge-5mw.yaml", {"assets": {PLANT: {"lag_s": lag_s, "plant": {"restart_s": restart_s}}}})
    return replace(site, control=replace(site.control, cycle_s=5.0))


def work(site: Site, share: float = 0.35) -> dict[str, Demand]:
    return {c.id: Demand(share * (c.peak_kw - c.idle_kw), 0.3 * (c.peak_kw - c.idle_kw), 0.0) for c in site.clusters}


def after_a_trip(
    wrong: Callable[[Loop], None] = lambda loop: None,
    shown: Callable[[float], float] | None = None,
    site: Site | None = None,
    trip_s: float = 60.0,
) -> tuple[float, float, list[Any]]:
    """Fifteen minutes from a trip on: the warmest supply in degrees C, IT power in kW after six minutes, the decisions."""
    site = site or edge()
    loop = Loop(site, "capped")
    device: Any = loop.plant.devices[PLANT]
    if shown is not None:
        loop.field.image = told(loop.field.image, shown)  # type: ignore[method-assign]
    loop.run(36, lambda k: work(site))
    device.inject("trip", loop.now.timestamp() + trip_s)
    warmest_c, it_kw = 0.0, []
    for k in range(180):
        if k == 6:
            wrong(loop)
        loop.cycle(work(site))
        warmest_c = max(warmest_c, device.supply_temp_c)
        it_kw.append(loop.decisions[-1].state.it_kw)
    return warmest_c, it_kw[72], loop.decisions


def told(image_of: Callable[[datetime], SiteImage], shown: Callable[[float], float]) -> Callable[[datetime], SiteImage]:
    """Images in which the supply sensor shows something else."""

    def image(now: datetime) -> SiteImage:
        seen = image_of(now)
        points = dict(seen.readings[PLANT])
        supply = points["supply_temp_c"]
        points["supply_temp_c"] = replace(supply, value=shown(supply.value or 0.0))
        return replace(seen, readings={**seen.readings, PLANT: points})

    return image


def silent(loop: Loop) -> None:
    loop.plant.devices[PLANT].inject("silent", loop.now.timestamp() + 3600.0)


def frozen(loop: Loop) -> None:
    loop.plant.devices[PLANT].inject("frozen", loop.now.timestamp() + 3600.0)


@pytest.mark.parametrize("wrong", [silent, frozen])
def test_a_plant_that_falls_silent_in_a_trip_bounds_the_halls_as_if_it_still_spoke(wrong: Callable[[Loop], None]) -> None:
    site = edge()
    warmest_c, it_kw, decisions = after_a_trip(wrong)
    assert warmest_c < 32.0
    assert it_kw <= 1.02 * sum(c.idle_kw for c in site.clusters)
    assert any(s.mode.name == "cooling lost" for s in decisions[-1].degraded)


@pytest.mark.parametrize("shown", [lambda c: 0.0, lambda c: 24.0], ids=["a broken wire", "stuck"])
def test_a_supply_that_cannot_be_true_is_reckoned_and_the_halls_are_bound_by_that(shown: Callable[[float], float]) -> None:
    warmest_c, _, decisions = after_a_trip(shown=shown)
    assert warmest_c < 32.0
    doubts = [a for d in decisions for a in d.alarms if a.startswith(f"{PLANT} supply: ")]
    assert doubts and {kind_of(a).name for a in doubts} == {"supply-doubt"}


@pytest.mark.parametrize(("lag_s", "restart_s", "trip_s"), [(300.0, 480.0, 60.0), (120.0, 300.0, 400.0), (1.0, 300.0, 400.0)])
def test_a_loop_stays_in_bounds_through_every_outage_that_idle_power_alone_allows(lag_s: float, restart_s: float, trip_s: float) -> None:
    assert after_a_trip(site=edge(restart_s, lag_s), trip_s=trip_s)[0] < 32.0


def seen(
    second: float, supply_c: float | None = 24.0, able_kw: float | None = 6000.0, it_kw: float = 2400.0, site: Site | None = None
) -> tuple[SiteImage, SiteState]:
    """The image, and the state it gives, at a second; None is not said."""
    site, at = site or edge(), NOW + timedelta(seconds=second)
    said = {"power_kw": 400.0, "outdoor_temp_c": 30.0, "supply_temp_c": supply_c, "heat_capacity_kw": able_kw}
    if able_kw is None and supply_c is None:
        said = {}
    readings = {PLANT: {k: Reading(v, at) for k, v in said.items() if v is not None}}
    readings |= {c.id: {"power_kw": Reading(it_kw / len(site.clusters), at)} for c in site.clusters}
    image = SiteImage(at, readings)
    return image, estimate_state(site, image, 60.0)


def test_a_plant_that_was_able_and_falls_silent_holds_the_halls_at_what_they_were_for_an_hour() -> None:
    loops = Loops(edge())
    loops.checked(*seen(0.0), {})
    assert loops.now()[PLANT].most_kw == float("inf")
    loops.checked(*seen(6.0, None, None, 2500.0), {})
    loop = loops.now()[PLANT]
    assert (loop.most_kw, loop.able_kw, loop.is_silent) == (pytest.approx(2400.0), 6000.0, True)
    assert loop.supply_c == pytest.approx(24.0)  # silence alone takes nothing away
    loops.checked(*seen(HELD_S + 6.0, None, None, 2400.0), {})
    assert loops.now()[PLANT].most_kw == float("inf")
    assert loops.now()[PLANT].able_kw == 6000.0


def test_a_silent_plant_that_was_not_able_warms_its_loop_and_counts_as_lost() -> None:
    loops, site = Loops(edge()), edge()
    for k in range(3):
        loops.checked(*seen(5.0 * k, 24.0 + 0.3 * k, 0.0), {})
    _, state = seen(70.0, None, None)
    loops.checked(*seen(70.0, None, None), {})
    plant = site.coolings[0].plant
    assert plant is not None
    assert loops.now()[PLANT].supply_c == pytest.approx(24.6 + 2400.0 * 60.0 / 3600.0 / plant.loop_kwh_per_k)
    modes = Degraded().update(site, Facts(state, loops=loops.now()))
    assert [s.mode.name for s in modes if "when last heard" in s.why] == ["cooling lost"]


def test_a_plant_that_never_spoke_is_as_unknown_as_before() -> None:
    loops = Loops(edge())
    loops.checked(*seen(0.0, None, None), {})
    loops.checked(*seen(60.0, None, None), {})
    loop = loops.now()[PLANT]
    assert (loop.supply_c, loop.able_kw, loop.most_kw) == (None, None, float("inf"))


def test_a_supply_never_read_is_reckoned_from_the_commissioned_one() -> None:
    loops = Loops(edge())
    for k in range(13):
        loops.checked(*seen(5.0 * k, None, 0.0), {})
    assert 25.0 < (loops.now()[PLANT].supply_c or 0.0) < 25.5


def test_a_supply_colder_than_it_was_ever_sent_is_not_believed_and_one_that_was_sent_there_is() -> None:
    site = load_site(ROOT / "config/sites/edge-5mw.yaml", {"assets": {PLANT: {"plant": {"supply_lowest_c": 18}, "link": LED_LINK}}})
    loops = Loops(site)
    loops.checked(*seen(0.0, 24.0, site=site), {PLANT: 22.0})
    for supply_c, is_believed in ((22.0, True), (22.0 - 0.9 * DOUBT_K, True), (22.0 - 1.1 * DOUBT_K, False), (0.0, False)):
        image, state = seen(5.0, supply_c, site=site)
        checked = loops.checked(image, state, {PLANT: 24.0})
        assert (checked is image) is is_believed, supply_c
    assert checked.value(PLANT, "supply_temp_c", 5.0) is None
    assert checked.value(PLANT, "heat_capacity_kw", 5.0) == 6000.0


LED_LINK = {"page": "generic-led-chilled-water-plant", "host": "127.0.0.1", "port": 15205, "lease_s": 60}


def test_a_supply_that_stands_still_is_believed_while_the_machines_carry_the_heat() -> None:
    loops = Loops(edge())
    for k in range(200):
        image, state = seen(5.0 * k, 24.0)
        assert loops.checked(image, state, {}) is image


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.tuples(st.floats(18.0, 24.0), st.floats(200.0, 1400.0)), min_size=1, max_size=6),
    st.integers(0, 600),
    st.integers(0, 1),
    st.randoms(use_true_random=False),
)
def test_a_live_sensor_of_a_plant_that_is_led_and_trips_is_never_doubted(
    course: list[tuple[float, float]], trips_at_s: int, trips: int, rng: random.Random
) -> None:
    site = LED_SITE
    cooling = site.coolings[0]
    device, watch = LedChilledWaterDevice(cooling, random.Random(rng.random())), LoopWatch(cooling)
    for k in range(120 * len(course)):
        at_s = 5.0 * k
        sent_c, heat_kw = course[k // 120]
        device.keep_alive(at_s)
        with suppress(Refused):
            device.write("supply_setpoint_c", sent_c, at_s)
        if trips and k == trips_at_s // 5:
            device.inject("trip", at_s + 60.0)
        device.step(5.0, at_s, heat_kw, 30.0)
        shown = device._readings()
        _, state = seen(at_s, round(shown["supply_temp_c"], 1), shown["heat_capacity_kw"], heat_kw, site)
        assert watch.update(state, sent_c) == ""


def test_the_plan_starts_with_no_cold_that_only_a_broken_wire_shows() -> None:
    site = LED_SITE
    loop = Loop(replace(site, control=replace(site.control, cycle_s=5.0)), "capped")
    shown = {"c": 22.0}
    loop.field.image = told(loop.field.image, lambda c: shown["c"])  # type: ignore[method-assign]
    half = {c.id: Demand(0.3 * (c.peak_kw - c.idle_kw), 0.0, 0.0) for c in site.clusters}
    before = loop.cycle(half)
    loop.cycle(half)
    shown["c"] = 0.0
    after = loop.cycle(half)
    assert plan_state(site, before, None).supply_temp_c == {PLANT: 22.0}
    assert plan_state(site, after, None).supply_temp_c == {}
    assert after.verdict.supply[PLANT].low_c == site.coolings[0].plant.supply_temp_c  # type: ignore[union-attr]


def test_what_was_heard_of_a_loop_survives_a_restart_of_control() -> None:
    site = edge()
    loop = Loop(site, "capped")
    loop.plant.devices[PLANT].inject("trip", loop.now.timestamp() + 600.0)
    loop.run(12, lambda k: work(site))
    memory = loop.controller.memory()
    again = Controller(site, "capped", dict.fromkeys(site.assets, Mode.CONTROL), memory)
    assert again.loops.now() == loop.controller.loops.now()
    silent(loop)
    loop.controller = again
    loop.run(4, lambda k: work(site))
    assert PLANT in loop.decisions[-1].verdict.heat_allowed_kw
    old = {k: v for k, v in memory.items() if k != "loops"}
    assert Controller(site, "capped", memory=old).loops.now()[PLANT].able_kw is None


def test_a_loop_left_alone_goes_back_to_its_commissioned_supply() -> None:
    loops = Loops(edge())
    loops.checked(*seen(0.0, 25.5), {})
    for k in range(1, 121):
        loops.checked(*seen(5.0 * k, None), {})
    reckoned_c = loops.now()[PLANT].supply_c
    assert reckoned_c is not None and 24.0 <= reckoned_c < 24.0 + 1.5 * 2.0 ** (-600.0 / CATCH_UP_S)
