"""What is missing is assumed on the safe side, and named."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from ems.assets.cooling.model import Cooling, CoolingState
from ems.reading import Quality, Reading
from ems.site.load import load_site
from ems.state.estimate import estimate_state, measured_residual_kw
from ems.state.image import SiteImage, decode_image, encode_image
from tests.control.loop import Loop, demo_site, even

EDGE = Path(__file__).parents[2] / "config/sites/edge-5mw.yaml"
CALM = {"hall-a": even(350.0), "hall-b": even(150.0)}


def calm_image() -> tuple[SiteImage, Loop]:
    loop = Loop(demo_site(), "rules")
    loop.run(5, lambda k: CALM)
    return loop.field.image(loop.now), loop


def without(image: SiteImage, asset: str, age_s: float = 60.0) -> SiteImage:
    """The image with one device silent since `age_s` seconds: old values, old stamps."""
    old = {p: Reading(r.value, r.at - timedelta(seconds=age_s), r.quality) for p, r in image.readings[asset].items()}
    return replace(image, readings={**image.readings, asset: old}, commands={k: v for k, v in image.commands.items() if k != asset})


def test_a_fresh_image_is_taken_as_it_is_and_explains_the_meter() -> None:
    image, loop = calm_image()
    state = estimate_state(loop.site, image, None)
    assert state.assumed == ()
    assert measured_residual_kw(loop.site, state) == pytest.approx(30.0, abs=8.0)
    assert state.poc_kw == pytest.approx(state.load_kw + state.storage_kw)


def test_a_silent_cluster_counts_as_what_the_parent_meter_leaves_with_a_margin() -> None:
    image, loop = calm_image()
    state = estimate_state(loop.site, without(image, "hall-b"), 30.0)
    true_kw = loop.plant.devices["hall-b"].power_kw
    assert true_kw < state.clusters["hall-b"].power_kw < true_kw + 0.15 * 600
    assert any(a.startswith("hall-b: silent") for a in state.assumed)
    assert measured_residual_kw(loop.site, state) is None


def test_a_silent_cluster_without_a_meter_counts_as_its_rating() -> None:
    image, loop = calm_image()
    state = estimate_state(loop.site, without(without(image, "hall-b"), "poc"), 30.0)
    assert state.clusters["hall-b"].power_kw == 600.0


def test_a_silent_battery_counts_as_delivering_nothing() -> None:
    loop = Loop(demo_site(), "rules")
    loop.run(120, lambda k: {"hall-a": even(720.0), "hall-b": even(330.0)})
    assert loop.plant.devices["bess-1"].power_kw < -50
    state = estimate_state(loop.site, without(loop.field.image(loop.now), "bess-1"), 30.0)
    assert state.batteries["bess-1"].power_kw == 0.0
    assert not state.batteries["bess-1"].is_fresh


def test_silent_cooling_counts_as_its_worst_share() -> None:
    image, loop = calm_image()
    state = estimate_state(loop.site, without(image, "cooling-1"), 30.0)
    assert state.cooling_kw == pytest.approx(0.25 * state.it_kw)


def recovering(power_kw: float, supply_c: float, age_s: float = 0.0) -> tuple[CoolingState, Cooling, str]:
    """What is made of the edge site's plant when it says that it draws `power_kw`, and of what nobody believes the reason."""
    loop = Loop(load_site(EDGE), "rules")
    loop.run(5, lambda k: {c.id: even(0.5 * (c.peak_kw - c.idle_kw)) for c in loop.site.clusters})
    image, plant = loop.field.image(loop.now), loop.site.coolings[0]
    said = {"power_kw": power_kw, "supply_temp_c": supply_c, "outdoor_temp_c": 41.0}
    readings = {**image.readings[plant.id], **{k: Reading(v, image.now) for k, v in said.items()}}
    told = replace(image, readings={**image.readings, plant.id: readings})
    state = estimate_state(loop.site, without(told, plant.id, age_s), 100.0)
    return state.coolings[plant.id], plant, " ".join(a for a in state.assumed if a.startswith(plant.id))


def test_a_plant_that_recovers_from_a_trip_is_believed_up_to_its_own_full_power_whatever_share_of_it_power_that_is() -> None:
    seen, plant, assumed = recovering(1600.0, 27.0)
    assert 1.5 * plant.rating_kw < 1600.0 and plant.most_kw == pytest.approx(1387.0, abs=1.0)
    assert seen.is_fresh and seen.power_kw == 1600.0 and not assumed


@pytest.mark.parametrize("supply_c", [24.0, 27.0])
def test_what_a_plant_says_of_its_water_stands_when_its_power_is_not_believed(supply_c: float) -> None:
    seen, plant, assumed = recovering(9000.0, supply_c)
    assert (seen.is_fresh, seen.supply_temp_c, seen.outdoor_temp_c) == (False, supply_c, 41.0)
    is_warm = supply_c > 25.0
    assert (seen.power_kw == plant.most_kw) is is_warm and ("full power" if is_warm else "worst share") in assumed


def test_a_plant_that_falls_silent_while_its_loop_is_warm_counts_as_its_full_power_and_an_hour_later_as_its_worst_share() -> None:
    for age_s, is_warm in ((60.0, True), (3700.0, False)):
        seen, plant, _ = recovering(1600.0, 27.0, age_s)
        assert seen.supply_temp_c is None and seen.outdoor_temp_c is None
        assert (seen.power_kw == plant.most_kw) is is_warm


@pytest.mark.parametrize(
    ("said_c", "age_s", "known_c"),
    [(14.5, 0.0, 14.5), (14.5, 590.0, 14.5), (14.5, 610.0, None), (-12.0, 0.0, -12.0), (-300.0, 0.0, None), (60.0, 0.0, None)],
)
def test_a_dew_point_counts_for_ten_minutes_and_where_air_can_have_it(said_c: float, age_s: float, known_c: float | None) -> None:
    loop = Loop(load_site(EDGE), "rules")
    loop.run(5, lambda k: {c.id: even(0.5 * (c.peak_kw - c.idle_kw)) for c in loop.site.clusters})
    image, name = loop.field.image(loop.now), loop.site.coolings[0].id
    said = {**image.readings[name], "dew_point_c": Reading(said_c, image.now - timedelta(seconds=age_s))}
    told = replace(image, readings={**image.readings, name: said})
    assert estimate_state(loop.site, told, 100.0).coolings[name].dew_point_c == known_c
    assert estimate_state(loop.site, image, 100.0).coolings[name].dew_point_c is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_a_value_that_is_not_a_number_never_enters(value: float | None) -> None:
    image, loop = calm_image()
    poc = {**image.readings["poc"], "power_kw": Reading(value, image.now)}
    state = estimate_state(loop.site, replace(image, readings={**image.readings, "poc": poc}), 30.0)
    assert not state.connection.is_fresh
    assert state.poc_kw == pytest.approx(loop.truth.poc_kw[-1], rel=0.05)


def test_a_value_the_device_calls_bad_is_not_used() -> None:
    image, loop = calm_image()
    poc = {**image.readings["poc"], "power_kw": Reading(99999.0, image.now, Quality.BAD)}
    assert not estimate_state(loop.site, replace(image, readings={**image.readings, "poc": poc}), 30.0).connection.is_fresh


def test_an_empty_image_gives_a_state_at_nameplates() -> None:
    image, loop = calm_image()
    state = estimate_state(loop.site, SiteImage(image.now, {}), None)
    assert state.it_kw == 1680.0
    assert len(state.assumed) >= 5


def test_an_image_survives_the_journal_exactly() -> None:
    image, _ = calm_image()
    again = decode_image(encode_image(image))
    assert again == image
