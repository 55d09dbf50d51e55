"""What is missing is assumed on the safe side, and named."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from ems.reading import Quality, Reading
from ems.state.estimate import estimate_state, measured_residual_kw
from ems.state.image import SiteImage, decode_image, encode_image
from tests.control.loop import Loop, demo_site, even

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
