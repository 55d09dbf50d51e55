"""Limits that are more than a number of kW: an inverse-time curve is used and never used up, kVA leaves what reactive power leaves."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems.control.controller import Controller
from ems.errors import ConfigError
from ems.guard.guard import exposure_s_of
from ems.guard.overload import Overload, highest, lasts_s
from ems.messages import Mode
from ems.site.model import Site
from ems.site.resolved import site_from_json, site_to_json
from ems.state.estimate import SiteState
from tests.control.loop import START, Loop, demo_site, even

CURVE = ((1.1, 900.0), (1.3, 300.0), (1.6, 90.0))
HEAVY = {"hall-a": even(800.0), "hall-b": even(400.0)}
curves = st.lists(st.tuples(st.floats(1.02, 3.0), st.floats(5.0, 7200.0)), min_size=1, max_size=4).map(
    lambda points: tuple(
        zip(
            sorted({round(x, 3) for x, _ in points}),
            sorted({round(s, 1) + k * 1e-3 for k, (_, s) in enumerate(points)}, reverse=True),
            strict=False,
        )
    )
)


def with_limit(limit_kw: float, **record: Any) -> Site:
    """The demo site with a high import limit and one more record."""
    limits = [{"source": "transformer", **record}]
    return demo_site(**{"point_of_connection": {"import_limit_kw": limit_kw, "limits": limits}})


def state_of(site: Site) -> SiteState:
    """One true state of a site."""
    loop = Loop(site, "capped")
    return loop.cycle(HEAVY).state


@given(curve=curves, horizon_s=st.floats(1.0, 600.0), left=st.floats(0.01, 1.0))
def test_what_is_offered_could_last_the_horizon_and_nothing_much_higher_could(curve: Any, horizon_s: float, left: float):
    times = highest(curve, horizon_s, left)
    assert 1.0 <= times <= curve[-1][0]
    if times > 1.0:
        assert left * lasts_s(curve, times) >= horizon_s * (1.0 - 1e-9)
    if curve[0][0] < times < curve[-1][0]:
        assert left * lasts_s(curve, times * 1.02) < horizon_s * 1.001


@given(curve=curves, a=st.floats(1.0, 5.0), b=st.floats(1.0, 5.0))
def test_the_higher_the_overload_the_shorter_it_lasts(curve: Any, a: float, b: float):
    low, high = sorted((a, b))
    assert lasts_s(curve, low) >= lasts_s(curve, high) > 0.0


def test_the_import_uses_the_curve_and_stays_inside_it_while_the_load_stays_high():
    """A quarter of an hour of more load than the transformer carries: its wear never comes so far that it could not last until the leases
    lapse, and then the limit is held until half of it has come back."""
    site = with_limit(1700.0, kw=1200.0, curve=[list(p) for p in CURVE])
    loop = Loop(site, "capped")
    horizon_s, worn, worst, used_s = exposure_s_of(site), 0.0, 0.0, 0
    for _ in range(960):
        loop.cycle(HEAVY)
        kw = loop.truth.poc_kw[-1]
        worn = max(0.0, worn + (1.0 / lasts_s(CURVE, kw / 1200.0) if kw > 1200.0 else -1.0 / CURVE[0][1]))
        worst, used_s = max(worst, worn), used_s + (kw > 1210.0)
    assert used_s > 120, "the overload is used"
    assert worst <= 1.0 - horizon_s / CURVE[0][1] + 0.02, "and never used up"
    assert max(loop.truth.poc_kw[-120:]) <= 1.001 * 1200.0, "then the limit is held"
    assert "transformer" in loop.decisions[-1].verdict.limit_source and "of its overload used" in loop.decisions[-1].verdict.limit_source


def test_what_was_used_up_is_offered_again_after_half_has_come_back_and_a_restart_does_not_give_it_back():
    site = with_limit(1700.0, kw=1200.0, curve=[list(p) for p in CURVE])
    state, limit = state_of(site), site.point_of_connection.limits[-1]
    overload, offered = Overload(site, 77.0), []
    for k in range(2400):
        kw = 1500.0 if k < 600 else 900.0
        overload.restore(overload.encode())
        offered.append(overload.update(replace(state, now=START + timedelta(seconds=k), poc_kw=kw))[limit].kw)
    first = next(k for k, kw in enumerate(offered) if kw <= 1200.0)
    again = next(k for k in range(600, 2400) if offered[k] > 1200.0)
    assert offered[0] > 1500.0 and first < 600
    assert set(offered[first:again]) == {1200.0} and again - 600 > 0.4 * CURVE[0][1]


@pytest.mark.parametrize("cycle_s", [10.0, 300.0])
def test_five_minutes_of_overload_wear_the_same_whatever_the_cycle(cycle_s: float):
    site = with_limit(1700.0, kw=1200.0, curve=[list(p) for p in CURVE])
    state, overload = state_of(site), Overload(replace(site, control=replace(site.control, cycle_s=cycle_s)), 10.0)
    for k in range(round(300.0 / cycle_s) + 1):
        overload.update(replace(state, now=START + timedelta(seconds=k * cycle_s), poc_kw=1.1 * 1200.0))
    assert overload.encode()[-1][1] == pytest.approx(300.0 / 900.0, rel=0.01)


def test_without_a_meter_no_overload_is_offered():
    site = with_limit(1700.0, kw=1200.0, curve=[list(p) for p in CURVE])
    state = state_of(site)
    blind = replace(state, connection=replace(state.connection, is_fresh=False))
    assert [a.kw for a in Overload(site, 77.0).update(blind).values()] == [1200.0]


@pytest.mark.parametrize(("kvar", "kw", "words"), [(None, 1140.0, "power factor 0.95 assumed"), (500.0, 1090.87, "500 kvar measured")])
def test_a_limit_in_kva_leaves_what_reactive_power_leaves_and_says_which_one(kvar: float | None, kw: float, words: str):
    site = with_limit(1700.0, kva=1200.0, power_factor=0.95)
    state = state_of(site)
    state = replace(state, connection=replace(state.connection, reactive_kvar=kvar))
    (allowed,) = Overload(site, 77.0).update(state).values()
    assert allowed.kw == pytest.approx(kw, abs=0.01) and words in allowed.words


def test_the_import_stays_under_a_limit_in_kva_with_the_reactive_power_of_the_meter():
    loop = Loop(with_limit(1700.0, kva=1200.0, power_factor=1.0), "capped")
    loop.plant.meter.power_factor = 0.9
    loop.run(120, lambda k: HEAVY)
    assert max(loop.truth.poc_kw[10:]) / 0.9 <= 1200.0 * 1.002
    assert min(loop.truth.poc_kw[60:]) / 0.9 >= 1200.0 * 0.94, "and uses it"


def test_the_leases_lapse_to_what_lasts_not_to_what_a_curve_allows_for_a_time():
    """The contract caps hold the lasting limit, and IT power above them is only allowed as far as its heat leaves them room."""
    lasting = demo_site(1200.0).clusters
    site = with_limit(1700.0, kw=1200.0, curve=[list(p) for p in CURVE])
    assert [c.contract_cap_kw for c in site.clusters] == pytest.approx([c.contract_cap_kw for c in lasting])
    loop = Loop(site, "capped")
    loop.run(240, lambda k: HEAVY)
    assert loop.decisions[-1].verdict.room.lasting_kw == pytest.approx(1200.0 * (1.0 - site.control.import_margin))
    assert all(d.exposure.is_safe for d in loop.decisions[60:])


def test_a_site_without_such_limits_keeps_nothing():
    rng = random.Random(1)
    loop = Loop(demo_site(), "capped")
    loop.cycle({"hall-a": even(rng.uniform(100.0, 600.0)), "hall-b": even(200.0)})
    assert loop.controller.allowed == {} and loop.controller.memory()["overload"] == []
    assert loop.decisions[-1].verdict.room.lasting_kw == float("inf")


def test_a_limit_with_a_curve_or_in_kva_survives_json_and_a_restart():
    site = with_limit(1700.0, kva=1200.0, power_factor=0.95, curve=[list(p) for p in CURVE])
    assert site_from_json(site_to_json(site)) == site
    controller = Controller(site, "capped", dict.fromkeys(site.assets, Mode.CONTROL))
    controller.overload.restore([["transformer 1140", 0.7, True]])
    again = Controller(site, "capped", None, controller.memory())
    assert again.overload.encode() == [["transformer 1140", 0.7, True]]


@pytest.mark.parametrize(
    "record",
    [
        {"kw": 1200.0, "kva": 1300.0},
        {},
        {"kw": 1200.0, "curve": [[0.9, 60]]},
        {"kw": 1200.0, "curve": [[1.1, 60], [1.2, 90]]},
        {"kw": 1200.0, "curve": [[1.2, 60], [1.1, 30]]},
        {"kw": 1200.0, "curve": [[1.1, 60]], "window_s": 900},
        {"kva": 1200.0, "power_factor": 0.0},
    ],
)
def test_a_record_that_makes_no_sense_is_refused(record: Mapping[str, Any]):
    with pytest.raises(ConfigError):
        with_limit(1700.0, **record)


def test_a_curve_alone_is_no_import_limit():
    with pytest.raises(ConfigError, match="no curve"):
        demo_site(**{"point_of_connection": {"import_limit_kw": None, "limits": [{"kw": 1400.0, "curve": [[1.1, 60]]}]}})
