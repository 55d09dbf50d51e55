"""Degraded modes: seen in the cycle that shows them, never widening anything, given back by stages."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from ems.assets.generator.model import GeneratorState
from ems.control.controller import Controller
from ems.guard.degraded import DIPS, MODES, Facts, _feed_lost, _grid_outage
from ems.guard.guard import Observed, guard_site
from ems.state.estimate import SiteState
from simulators.plant import Demand
from tests.control.loop import Loop, demo_site, even, texture

HOLD_S = {m.name: m.hold_s for m in MODES}
RETURN_S = {m.name: m.return_s for m in MODES}


def running(limit_kw: float = 1350.0) -> tuple[Loop, random.Random]:
    """The demo site, two minutes into a busy hour."""
    loop, rng = Loop(demo_site(limit_kw), "rules"), random.Random(5)
    loop.run(120, busy(rng))
    return loop, rng


def busy(rng: random.Random) -> Callable[[int], dict[str, Demand]]:
    """A demand for many cycles."""
    return lambda k: texture(rng, 600.0, 260.0)


def outage(loop: Loop, for_s: float) -> None:
    """The grid goes: the UPS carries the halls, everything else stands still."""
    until_s = loop.now.timestamp() + for_s
    loop.plant.devices["ups-1"].inject("input_lost", until_s)
    for name in ("bess-1", "cooling-1"):
        loop.plant.devices[name].inject("trip", until_s)


def names(loop: Loop) -> list[str]:
    """The modes in force in the last cycle."""
    return [s.mode.name for s in loop.decisions[-1].degraded]


def told(loop: Loop, command: str) -> dict[str, float]:
    """What one command was for every asset in the last cycle."""
    return {s.asset: s.power_kw for s in loop.decisions[-1].setpoints if s.command == command}


def test_a_whole_site_is_in_no_degraded_mode():
    loop, _ = running()
    assert [d.degraded for d in loop.decisions if d.degraded] == []


def test_in_an_outage_storage_is_idle_and_only_what_interactive_work_needs_runs():
    loop, rng = running()
    outage(loop, 60.0)
    loop.run(20, busy(rng))
    assert "grid outage" in names(loop)
    assert told(loop, "power_setpoint_kw") == {"bess-1": 0.0} and told(loop, "battery_setpoint_kw") == {"ups-1": 0.0}
    state = loop.decisions[-1].state
    for cluster in loop.site.clusters:
        work = state.clusters[cluster.id].classes["interactive"].demand_kw
        assert told(loop, "power_cap_kw")[cluster.id] <= cluster.idle_kw + 1.05 * work + 1.0
    assert any(a.startswith("degraded: grid outage") for a in loop.decisions[-1].alarms)


def test_after_an_outage_storage_stays_idle_for_five_minutes_and_the_halls_come_back_in_five_more():
    loop, _ = running()
    outage(loop, 30.0)
    caps = []
    for _ in range(30 + 640):
        loop.cycle({"hall-a": even(600.0), "hall-b": even(260.0)})
        caps.append(sum(loop.decisions[-1].verdict.caps[c.id].high_kw for c in loop.site.clusters))
        if 40 < len(caps) < 30 + HOLD_S["grid outage"]:
            assert told(loop, "power_setpoint_kw") == {"bess-1": 0.0}
    rating_kw = sum(c.rating_kw for c in loop.site.clusters)
    steps = [b - a for a, b in pairwise(caps[60:])]
    assert caps[-1] == rating_kw and caps[30 + 200] < 0.75 * rating_kw
    assert max(steps) < 0.05 * rating_kw, "the halls come back by stages"
    assert loop.truth.over_s == 0.0 and loop.truth.export_s == 0.0
    assert names(loop) == []


def test_a_lost_feed_is_no_outage_while_the_rest_of_the_site_draws_from_the_grid():
    loop, rng = running()
    loop.plant.devices["ups-1"].inject("input_lost", loop.now.timestamp() + 60.0)
    loop.run(20, busy(rng))
    assert names(loop) == ["feed lost"]
    assert loop.decisions[-1].verdict.storage["bess-1"].high_kw == 0.0, "no charging"
    assert loop.decisions[-1].verdict.storage["bess-1"].low_kw < 0.0


def test_three_dips_in_a_minute_leave_storage_alone_for_ten_minutes_and_two_do_not():
    for dips in (DIPS - 1, DIPS):
        loop, rng = running()
        for _ in range(dips):
            loop.plant.devices["ups-1"].inject("input_lost", loop.now.timestamp() + 3.0)
            loop.run(15, busy(rng))
        loop.run(60, busy(rng))
        assert ("dips" in names(loop)) is (dips == DIPS)
        assert (loop.decisions[-1].verdict.storage["bess-1"].low_kw == 0.0) is (dips == DIPS)


def test_without_the_meter_nothing_is_charged_and_the_contract_caps_stand():
    loop, rng = running()
    loop.plant.devices["poc"].inject("silent", loop.now.timestamp() + 60.0)
    loop.run(20, busy(rng))
    assert names(loop) == ["meter lost"]
    for cluster in loop.site.clusters:
        assert told(loop, "power_cap_kw")[cluster.id] <= cluster.contract_cap_kw + 1.0
    assert max(told(loop, "power_setpoint_kw").values()) <= 0.0


def test_with_every_store_silent_the_contract_caps_stand():
    loop, rng = running()
    for name in ("bess-1", "ups-1"):
        loop.plant.devices[name].inject("silent", loop.now.timestamp() + 60.0)
    loop.run(20, busy(rng))
    assert "storage lost" in names(loop)
    assert all(told(loop, "power_cap_kw")[c.id] <= c.contract_cap_kw + 1.0 for c in loop.site.clusters)


@pytest.mark.parametrize("seed", range(6))
def test_no_mode_ever_widens_an_interval(seed: int):
    """Random faults; the verdict with the modes in force lies inside the verdict without them."""
    rng = random.Random(seed)
    loop, _ = running()
    observed, observe = [], loop.controller._observed

    def watched(state: SiteState) -> Observed:
        observed.append(observe(state))
        return observed[-1]

    loop.controller._observed = watched  # type: ignore[method-assign]
    for _ in range(12):
        name = rng.choice(["ups-1", "bess-1", "cooling-1", "poc"])
        kinds = ["silent", "trip", *(["input_lost"] if name == "ups-1" else [])]
        loop.plant.devices[name].inject(rng.choice(kinds), loop.now.timestamp() + rng.randrange(2, 40))
        for _ in range(rng.randrange(2, 30)):
            decision = loop.cycle(texture(rng, 600.0, 260.0))
            free = guard_site(loop.site, decision.state, [], replace(observed[-1], degraded=(), returning=frozenset()))
            for k, e in decision.verdict.storage.items():
                assert e.low_kw <= e.high_kw <= free.storage[k].high_kw + 1e-9
            # what may be exported is shared out, so one store may get what is taken from another: the sum counts
            assert sum(e.low_kw for e in decision.verdict.storage.values()) >= sum(e.low_kw for e in free.storage.values()) - 1e-9
            for k, e in decision.verdict.caps.items():
                assert e.high_kw <= free.caps[k].high_kw + 1e-9 and e.low_kw == free.caps[k].low_kw


def test_modes_survive_a_restart():
    loop, rng = running()
    outage(loop, 30.0)
    loop.run(60, busy(rng))
    memory = loop.controller.memory()
    loop.controller = Controller(loop.site, "plan", loop.modes, memory)
    loop.cycle(texture(rng, 600.0, 260.0))
    assert "grid outage" in names(loop)
    again = loop.decisions[-1].degraded[0]
    assert loop.now - again.since > timedelta(seconds=50)


@pytest.mark.parametrize("unread", ["ups-1", "cooling-1", "poc"])
def test_an_outage_is_seen_without_the_ups_but_not_without_the_meter_or_the_cooling(unread: str):
    loop, rng = running()
    outage(loop, 60.0)
    for name in {"ups-1", unread}:
        loop.plant.devices[name].inject("silent", loop.now.timestamp() + 60.0)
    loop.run(30, busy(rng))
    assert ("grid outage" in names(loop)) == (unread == "ups-1")


def test_what_is_generated_here_is_carried_by_no_ups():
    """The meter near nothing, cooling idle in the cold, the UPS silent: a reactor beside the grid carries the halls."""
    loop, rng = running()
    outage(loop, 60.0)
    loop.plant.devices["ups-1"].inject("silent", loop.now.timestamp() + 60.0)
    loop.run(30, busy(rng))
    site, state = loop.site, loop.decisions[-1].state
    it_kw = sum(c.power_kw for c in state.clusters.values())
    reactor = GeneratorState(-it_kw, "running", it_kw, True)
    seen = [
        _grid_outage(site, Facts(replace(state, generators=g))) for g in ({}, {"smr": reactor}, {"smr": replace(reactor, is_fresh=False)})
    ]
    assert [s is not None for s in seen] == [True, False, False] and "no UPS can be read" in seen[0].why


def test_cooling_on_gensets_is_no_proof_of_the_grid_and_only_the_meter_says_that_it_is_there():
    """The UPS on battery and cooling at work, by the meter and by who feeds what."""
    loop, rng = running()
    loop.plant.devices["ups-1"].inject("input_lost", loop.now.timestamp() + 60.0)
    loop.run(20, busy(rng))
    site, state, limit_kw = loop.site, loop.decisions[-1].state, loop.site.point_of_connection.import_limit_kw
    bright, dark = (replace(state, connection=replace(state.connection, power_kw=share * limit_kw)) for share in (0.2, 0.05))
    diesel = GeneratorState(-250.0, "loaded", 500.0, True, carries_load=True)
    fed = {"ups-1": replace(state.upses["ups-1"], mode="generator")}
    cases = {
        "the meter shows the grid": (replace(bright, generators={"diesel": diesel}), False),
        "a diesel has taken over": (replace(dark, generators={"diesel": diesel}), True),
        "a genset feeds the UPS": (replace(dark, upses=fed), True),
        "a diesel runs beside the grid": (replace(dark, generators={"diesel": replace(diesel, carries_load=False)}), False),
    }
    for name, (seen, is_outage) in cases.items():
        lost = _feed_lost(site, Facts(seen))
        assert (_grid_outage(site, Facts(seen)) is not None, lost is None) == (is_outage, is_outage), name
        assert lost is None or ("the grid is there" in lost.why) == (name == "the meter shows the grid")


def test_a_working_site_whose_ups_is_silent_is_in_no_outage():
    loop, rng = running()
    loop.plant.devices["ups-1"].inject("silent", loop.now.timestamp() + 60.0)
    loop.run(30, busy(rng))
    assert "grid outage" not in names(loop)


def test_an_idle_site_that_imports_next_to_nothing_is_not_in_an_outage():
    loop = Loop(demo_site())
    loop.run(60, lambda k: {"hall-a": even(0.0), "hall-b": even(0.0)})
    assert names(loop) == []
