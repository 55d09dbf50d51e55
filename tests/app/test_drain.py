"""Letting go: the order of things, cycle by cycle."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems.app.drain import Drain, let_go_now
from ems.messages import Mode
from ems.reading import Reading
from ems.resources import bundled
from ems.site.load import load_site
from ems.state.estimate import LOCKED_OUT
from ems.state.image import SiteImage

NOON = datetime(2024, 8, 19, 12, tzinfo=UTC)
SITE = load_site(bundled("config/sites/demo-2mw.yaml"))
CONTRACT = {c.id: c.contract_cap_kw for c in SITE.clusters}
ALL = dict.fromkeys(SITE.assets, Mode.CONTROL)
BATTERY, CAP = ("bess-1", "power_setpoint_kw"), "power_cap_kw"


def image(second: float, caps_kw: dict[str, float], battery_kw: float) -> SiteImage:
    now = NOON + timedelta(seconds=second)
    return SiteImage(
        now,
        {"bess-1": {"power_kw": Reading(battery_kw, now)}, "ups-1": {"power_kw": Reading(45.0, now), "battery_kw": Reading(0.0, now)}},
        {name: {CAP: Reading(kw, now)} for name, kw in caps_kw.items()},
    )


def wanted(drain: Drain, seen: SiteImage) -> tuple[dict[tuple[str, str], float], bool]:
    setpoints, is_done = drain.step(seen)
    return {(s.asset, s.command): s.power_kw for s in setpoints}, is_done


def test_a_discharging_battery_keeps_on_until_the_caps_are_read_back_at_the_contract():
    wide = {name: 1000.0 for name in CONTRACT}
    drain = Drain(SITE, ALL, {BATTERY: -400.0, **{(name, CAP): 1000.0 for name in wide}}, NOON)
    first, _ = wanted(drain, image(1, wide, -400.0))
    assert first[BATTERY] == -400.0 and {name: first[(name, CAP)] for name in wide} == pytest.approx(CONTRACT)
    still, _ = wanted(drain, image(2, wide, -400.0))
    assert still[BATTERY] == -400.0
    ramp, is_done = wanted(drain, image(3, CONTRACT, -400.0))
    assert ramp[BATTERY] == -150.0 and not is_done  # 250 kW/s
    zero, is_done = wanted(drain, image(4, CONTRACT, -150.0))
    assert zero[BATTERY] == 0.0 and not is_done  # told, not yet seen
    _, is_done = wanted(drain, image(5, CONTRACT, 0.0))
    assert is_done


def test_caps_below_the_contract_stay_while_the_battery_still_charges():
    tight = {name: 300.0 for name in CONTRACT}
    drain = Drain(SITE, ALL, {BATTERY: 400.0, **{(name, CAP): 300.0 for name in tight}}, NOON)
    for second in range(1, 5):
        now, _ = wanted(drain, image(second, tight, 400.0))
        assert {name: now[(name, CAP)] for name in tight} == tight


def test_an_asset_that_is_only_observed_is_neither_told_nor_released():
    modes = {**ALL, "bess-1": Mode.OBSERVE, "hall-b": Mode.ADVISE}
    drain = Drain(SITE, modes, {BATTERY: 100.0}, NOON)
    told, _ = wanted(drain, image(1, CONTRACT, 100.0))
    assert BATTERY not in told and ("hall-b", CAP) not in told and ("hall-a", CAP) in told
    assert not {"bess-1", "hall-b"} & set(drain.held)


def test_storage_is_released_before_the_caps():
    drain = Drain(SITE, ALL, {BATTERY: 100.0, ("ups-1", "battery_setpoint_kw"): 0.0}, NOON)
    held = drain.held
    assert max(held.index("bess-1"), held.index("ups-1")) < min(held.index("hall-a"), held.index("hall-b"))


def locked(seen: SiteImage, *assets: str) -> SiteImage:
    """The image with devices locked out by their key."""
    keys = {asset: {**seen.readings.get(asset, {}), "is_local": Reading(LOCKED_OUT, seen.now)} for asset in assets}
    return replace(seen, readings={**seen.readings, **keys})


@pytest.mark.parametrize("asset", ["bess-1", "hall-a"])
def test_what_is_locked_out_is_neither_told_nor_released_and_the_rest_is(asset: str):
    drain = Drain(SITE, ALL, {BATTERY: -100.0, **{(name, CAP): kw for name, kw in CONTRACT.items()}}, NOON)
    for second in range(1, 4):
        seen = locked(image(second, CONTRACT, -100.0 if asset == "bess-1" else 0.0), asset)
        told, is_done = wanted(drain, seen)
        assert asset not in {a for a, _ in told} and len({a for a, _ in told}) >= 2
    assert is_done  # the others are safe; this one lapses
    assert asset not in drain.held and {"bess-1", "hall-a", "hall-b"} - {asset} <= set(drain.held)


def test_a_locked_out_hall_that_shows_a_wide_cap_keeps_storage_giving():
    wide = {**CONTRACT, "hall-a": 1000.0}
    drain = Drain(SITE, ALL, {BATTERY: -100.0, **{(name, CAP): kw for name, kw in wide.items()}}, NOON)
    told, is_done = wanted(drain, locked(image(1, wide, -100.0), "hall-a"))
    assert told[BATTERY] == -100.0 and ("hall-a", CAP) not in told and not is_done


@given(st.sets(st.sampled_from(sorted(ALL))), st.sets(st.sampled_from(sorted(ALL))), st.sets(st.sampled_from(sorted(ALL))))
def test_an_asset_taken_out_of_control_is_let_go_of_at_once_unless_it_is_locked_out(before: set[str], held: set[str], out: set[str]):
    assert set(let_go_now(before, held, out)) == {a for a in before if a not in held and a not in out}
