"""Limits of every kind, in closed loop: events, ramps, interval limits, feeders, the UPS rating, and a site that cannot be saved."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ems.control.ladder import Level
from ems.control.plan_state import plan_state
from ems.limit import Limit, LimitKind
from ems.messages import Mode
from ems.site.model import Feeder, Site
from tests.control.loop import START, Loop, demo_site, even, texture

HEAVY = {"hall-a": even(600.0), "hall-b": even(280.0)}


def with_limits(site: Site, *limits: Limit) -> Site:
    poc = site.point_of_connection
    return replace(site, point_of_connection=replace(poc, limits=(*poc.limits, *limits)))


def event(kw: float, **other: Any) -> tuple[str, dict[str, Any]]:
    begin = START + timedelta(minutes=5)
    body = {"id": "e1", "kind": "import_limit", "kw": kw, "start": begin.isoformat(), "end": (begin + timedelta(minutes=10)).isoformat()}
    return "event", {**body, "notice_at": START.isoformat(), **other}


def test_an_event_lowers_the_import_from_its_first_second_and_frees_it_after_its_end() -> None:
    loop = Loop(demo_site(), "capped")
    loop.run(1200, lambda k: HEAVY, lambda k: [event(1000.0)] if k == 0 else ())
    poc = loop.truth.poc_kw
    assert max(poc[303:900]) <= 1000.0 * 1.001
    assert min(poc[200:299]) > 1200.0
    assert max(poc[960:]) > 1200.0
    assert loop.decisions[600].verdict.limit_source == "event e1"


def test_a_reduction_counts_from_its_frozen_baseline() -> None:
    loop = Loop(demo_site(), "capped")
    loop.run(400, lambda k: HEAVY, lambda k: [event(250.0, kind="reduce_by", baseline_kw=1250.0)] if k == 0 else ())
    assert max(loop.truth.poc_kw[303:]) <= 1000.0 * 1.001


@pytest.mark.parametrize("body", [{"id": "e1"}, {"id": "e1", "kind": "import_limit", "kw": "much"}, {}])
def test_an_event_that_makes_no_sense_is_refused_with_an_alarm(body: dict[str, Any]) -> None:
    decision = Loop(demo_site(), "capped").cycle(HEAVY, [("event", body)])
    assert any(a.startswith("event refused") for a in decision.alarms)


def test_a_limit_that_is_not_yet_valid_does_not_hold_and_one_that_is_does() -> None:
    later = Limit(900.0, LimitKind.CONNECTION, valid_from=START + timedelta(minutes=10), source="operator")
    loop = Loop(with_limits(demo_site(), later), "capped")
    loop.run(900, lambda k: HEAVY)
    assert max(loop.truth.poc_kw[300:590]) > 1100.0
    assert max(loop.truth.poc_kw[603:]) <= 900.0 * 1.001


def test_an_interval_limit_is_held_as_energy_and_lets_short_peaks_pass() -> None:
    rng = random.Random(3)
    site = with_limits(demo_site(), Limit(1150.0, LimitKind.CONNECTION, window_s=900.0, source="utility"))
    loop = Loop(site, "capped")
    loop.run(2700, lambda k: texture(rng, 560.0, 260.0))
    poc = loop.truth.poc_kw
    means = [sum(poc[i : i + 900]) / 900 for i in range(0, 2700, 900)]
    assert max(means) <= 1150.0 * 1.002
    assert max(poc) > 1250.0, "no peak passed: the window was not used"


@pytest.mark.parametrize("before_end_s", [0, 4])  # of a window: then nothing after it can make it good
@pytest.mark.parametrize("window_s", [60, 300, 900])
def test_a_limit_over_a_window_holds_though_a_load_nobody_knows_of_comes_and_stays(window_s: int, before_end_s: int) -> None:
    site = with_limits(demo_site(), Limit(1150.0, LimitKind.CONNECTION, window_s=float(window_s), source="utility"))
    loop = Loop(site, "capped")
    loop.run(900 - before_end_s, lambda k: HEAVY)
    loop.add_unknown_load(150.0)
    loop.run(900 + before_end_s, lambda k: HEAVY)
    poc = loop.truth.poc_kw
    means = [sum(poc[i : i + window_s]) / window_s for i in range(0, 1800, window_s)]
    assert max(means) <= 1150.0
    assert min(means[: 900 // window_s]) > 0.95 * 1150.0, "what may flow does, while the devices explain the meter"
    assert min(means) > 0.8 * 1150.0


@pytest.mark.parametrize("unknown_kw", [60.0, 150.0, 300.0])
def test_a_load_missing_in_the_site_file_counts_within_seconds_costs_no_storage_and_is_forgotten_when_it_leaves(unknown_kw: float) -> None:
    loop = Loop(demo_site(), "capped")
    loop.run(120, lambda k: HEAVY)
    loop.add_unknown_load(unknown_kw)
    loop.run(900, lambda k: HEAVY)
    soc = [d.state.batteries["bess-1"].soc for d in loop.decisions]
    assert loop.truth.over_s <= 2.0
    assert soc[-1] == pytest.approx(soc[150], abs=0.001), "storage carries what nobody knows"
    assert any("no device explains" in a for a in loop.decisions[-1].alarms)
    loop.add_unknown_load(-unknown_kw)
    loop.run(300, lambda k: HEAVY)
    assert loop.truth.poc_kw[-1] > 0.98 * loop.truth.poc_kw[100]
    assert not any("balance" in a for a in loop.decisions[-1].alarms)


@pytest.mark.parametrize("policy", ["plan", "rules"])
def test_while_much_is_unexplained_neither_plan_nor_rules_are_followed(policy: str) -> None:
    loop = Loop(demo_site(), policy)
    loop.run(60, lambda k: HEAVY)
    before = loop.decisions[-1].rung.level
    loop.add_unknown_load(200.0)
    loop.run(300, lambda k: HEAVY)
    assert all(d.rung.level is Level.L3 for d in loop.decisions[70:])
    loop.add_unknown_load(-200.0)
    loop.run(300, lambda k: HEAVY)
    assert loop.decisions[-1].rung.level is before < Level.L3


def test_the_import_rises_no_faster_than_the_ramp_limit() -> None:
    site = demo_site()
    site = replace(site, point_of_connection=replace(site.point_of_connection, ramp_limit_kw_per_min=60.0))
    loop = Loop(site, "capped")
    calm = {"hall-a": even(100.0), "hall-b": even(50.0)}
    loop.run(600, lambda k: calm if k < 120 else HEAVY)
    poc = loop.truth.poc_kw
    rises = [poc[i + 60] - poc[i] for i in range(120, len(poc) - 60)]
    assert max(rises) <= 60.0 * (1 + 10 / 60) + 2.0
    assert poc[-1] > poc[119] + 200.0


def test_the_planner_is_told_what_lasts_not_what_a_ramp_or_a_running_window_leaves_just_now() -> None:
    poc = replace(demo_site().point_of_connection, ramp_limit_kw_per_min=60.0)
    for site, lasting_kw in (
        (replace(demo_site(), point_of_connection=poc), 1370.0),
        (with_limits(demo_site(), Limit(1150.0, LimitKind.CONNECTION, window_s=900.0, source="utility")), 1150.0),
    ):
        loop = Loop(site, "capped")
        loop.run(300, lambda k: HEAVY)
        assert len({d.verdict.limit_kw for d in loop.decisions}) > 50, "the limit of the instant stands still"
        assert {plan_state(site, d, None).import_limit_kw for d in loop.decisions} == {lasting_kw}


@pytest.mark.parametrize("limit_kw", [700.0, 850.0])
def test_two_feeders_each_hold_their_own_limit(limit_kw: float) -> None:
    site = replace(demo_site(), feeders=(Feeder("a", None, limit_kw, ("hall-a",)), Feeder("b", None, 420.0, ("hall-b", "house"))))
    loop = Loop(site, "capped")
    loop.run(60, lambda k: {"hall-a": even(800.0), "hall-b": even(450.0)})
    assert loop.plant.devices["hall-a"].power_kw <= limit_kw
    assert loop.plant.devices["hall-b"].power_kw + 30.0 <= 420.0


def test_a_site_whose_idle_power_is_over_the_limit_says_so_and_does_all_it_can() -> None:
    loop = Loop(demo_site(), "capped")
    loop.run(600, lambda k: HEAVY, lambda k: [event(0.0)] if k == 0 else ())
    assert any(a.startswith("infeasible") for a in loop.decisions[-1].alarms)
    caps = {s.asset: s.power_kw for s in loop.decisions[-1].setpoints if s.command == "power_cap_kw"}
    assert caps == {"hall-a": 270.0, "hall-b": 150.0}
    assert loop.plant.devices["bess-1"].power_kw < -200.0


def test_work_is_shed_before_the_load_outgrows_what_the_ups_can_carry() -> None:
    site = demo_site(import_limit_kw=2000.0, assets={"ups-1": {"initial_soc": 0.66}})
    loop = Loop(site, "capped")
    carried_kw = site.upses[0].carried_kw(0.66)
    loop.run(60, lambda k: {"hall-a": even(800.0), "hall-b": even(400.0)})
    caps = [s.power_kw for s in loop.decisions[-1].setpoints if s.command == "power_cap_kw"]
    assert 1300.0 < carried_kw < site.upses[0].rating_kw
    assert sum(caps) <= carried_kw * 1.01


def test_a_cluster_in_local_keeps_its_power_and_the_other_makes_room() -> None:
    loop = Loop(demo_site(), "capped")
    loop.run(60, lambda k: {"hall-a": even(300.0), "hall-b": even(100.0)})
    loop.plant.devices["hall-a"].inject("local", loop.now.timestamp() + 9999)
    loop.run(120, lambda k: {"hall-a": even(300.0), "hall-b": even(400.0)})
    assert loop.truth.over_s == 0.0


@pytest.mark.parametrize("device", ["hall-a", "hall-b", "bess-1", "ups-1", "cooling-1", "poc"])
@pytest.mark.parametrize("fault", ["silent", "frozen", "reject", "wrong_sign", "reboot"])
def test_one_device_that_fails_costs_at_most_two_seconds_above_the_limit(device: str, fault: str) -> None:
    loop, rng = Loop(demo_site(), "rules"), random.Random(4)
    loop.run(120, lambda k: texture(rng, 560.0, 250.0))
    until = loop.now.timestamp() + 120
    loop.plant.devices[device].inject(fault, until)
    loop.run(120, lambda k: texture(rng, 560.0, 250.0))
    loop.run(120, lambda k: texture(rng, 560.0, 250.0))
    assert loop.truth.longest_over_s <= 2.0
    assert loop.truth.shortfall_s == 0.0


def test_nothing_is_handed_over_then_everything_is_decided_as_if_it_were() -> None:
    observe = dict.fromkeys(("bess-1", "ups-1", "hall-a", "hall-b"), Mode.OBSERVE)
    loop = Loop(demo_site(), "rules", modes=observe)
    loop.run(20, lambda k: HEAVY)
    assert loop.writes == 0
    caps = [s.power_kw for s in loop.decisions[-1].setpoints if s.command == "power_cap_kw"]
    assert sum(caps) < 1200.0
