"""A battery whose own frequency droop moves its power follows its setpoint all the same; what droop does not explain is still named."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems.assets.battery.droop import Droop
from ems.control.controller import Controller
from ems.guard.response import Watch
from ems.site.model import Site
from ems.site.resolved import site_from_json, site_to_json
from ems.state.image import SiteImage
from tests.control.loop import START, Loop, demo_site, even

DROOP = {"kw_per_hz": 2000.0, "nominal_hz": 50, "deadband_hz": 0.02, "most_kw": 150.0}
WORK = {"hall-a": even(500.0), "hall-b": even(220.0)}


def armed(limit_kw: float = 1370.0, **more: Any) -> Site:
    """The demo site with droop armed in its battery."""
    return demo_site(limit_kw, assets={"bess-1": {"droop": {**DROOP, **more}}})


def shaken(loop: Loop, cycles: int, seed: int = 1) -> None:
    """A frequency that wanders and jumps by up to 0.15 Hz."""
    rng, battery = random.Random(seed), loop.plant.devices["bess-1"]
    for k in range(cycles):
        if k % 7 == 0:
            battery.grid_hz = 50.0 + rng.uniform(-0.15, 0.15)
        loop.cycle(WORK)


def without_frequency(image: SiteImage) -> SiteImage:
    """As a page tells it that has no frequency."""
    return replace(image, readings={a: {p: r for p, r in points.items() if p != "frequency_hz"} for a, points in image.readings.items()})


@given(hz=st.floats(40.0, 60.0), kw_per_hz=st.floats(1.0, 1e4), deadband_hz=st.floats(0.0, 0.5), most_kw=st.floats(1.0, 1e3))
def test_droop_charges_while_the_grid_is_fast_and_never_moves_more_than_it_may(
    hz: float, kw_per_hz: float, deadband_hz: float, most_kw: float
):
    droop = Droop(kw_per_hz, deadband_hz, 50.0, most_kw)
    kw = droop.power_kw(hz)
    assert abs(kw) <= most_kw and kw * (hz - 50.0) >= 0.0
    assert kw == 0.0 or abs(hz - 50.0) > deadband_hz
    assert droop.power_kw(100.0 - hz) == pytest.approx(-kw, abs=1e-6)
    low, high = droop.range_kw(None)
    assert low <= kw <= high and droop.range_kw(hz) == (kw, kw)


@pytest.mark.parametrize("is_shown", [True, False])
def test_a_battery_that_answers_the_frequency_is_not_suspect_and_the_limit_holds(is_shown: bool):
    loop = Loop(armed(1250.0), "rules")
    if not is_shown:
        image = loop.field.image
        loop.field.image = lambda now: without_frequency(image(now))  # type: ignore[method-assign]
    shaken(loop, 600)
    moved = [d.state.batteries["bess-1"].power_kw - d.verdict.storage_now_kw["bess-1"] for d in loop.decisions[10:]]
    assert min(moved) < -50.0, "droop moved it"
    assert not any("does not follow" in alarm for d in loop.decisions for alarm in d.alarms)
    assert loop.truth.longest_over_s <= 1.0


def test_the_same_swings_without_droop_in_the_site_file_are_named():
    loop = Loop(armed(), "rules")
    loop.controller = Controller(demo_site(), "rules", loop.modes)
    shaken(loop, 120)
    assert any("does not follow" in alarm for d in loop.decisions for alarm in d.alarms)


def test_an_armed_battery_whose_power_droop_does_not_explain_is_still_named_within_five_seconds():
    watch = Watch(500.0, 1.0)
    for k in range(60):
        watch.update(START + timedelta(seconds=k), -200.0 + 60.0, -200.0, (60.0, 60.0))
    assert not watch.is_suspect(START + timedelta(seconds=60))
    for k in range(60, 65):
        watch.update(START + timedelta(seconds=k), 60.0, -200.0, (60.0, 60.0))
    assert watch.is_suspect(START + timedelta(seconds=65)) and "does not follow" in watch.why


def test_its_rating_and_the_import_leave_room_for_droop():
    site = armed()
    loop, plain = Loop(site, "capped"), Loop(demo_site(), "capped")
    for each in (loop, plain):
        each.cycle(WORK)
    envelope = loop.decisions[-1].verdict.storage["bess-1"]
    assert (envelope.low_kw, envelope.high_kw) == pytest.approx((-350.0, 350.0)) and envelope.high_rule == "room for its droop"
    assert loop.decisions[-1].verdict.room.fixed_kw == pytest.approx(plain.decisions[-1].verdict.room.fixed_kw + 150.0)


def test_droop_survives_json_and_may_use_the_whole_rating_unless_bounded():
    assert site_from_json(site_to_json(armed())) == armed()
    battery = armed(most_kw=None).batteries[0]
    assert battery.droop is not None and battery.droop.most_kw == battery.power_kw
