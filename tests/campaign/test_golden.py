"""Golden cases of the campaign: the shortest schedules that once broke an invariant, kept with the settings that showed it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ems.errors import InvariantBroken
from tests.campaign.faults import Fault, put
from tests.campaign.oracle import Oracle, Violation
from tests.campaign.world import EPOCH, Setting, World

LIMITED = Setting(18, 950.0, demand_scale=2.0, noise=0.15)
EMPTY = {
    "point_of_connection": {"ramp_limit_kw_per_min": 300.0},
    "assets": {"bess-1": {"initial_soc": 0.06}, "ups-1": {"initial_soc": 0.66}},
}
FULL_UPS = {"assets": {"ups-1": {"initial_soc": 0.70}}}

# number, what it is, setting, planner, faults
CASES = {
    "11 a battery that does the opposite, the load at the limit": (
        LIMITED,
        "honest",
        [Fault(51.0, "reversed", "bess-1", 40.0)],
    ),
    "12 a meter whose bytes are swapped while the battery discharges": (
        Setting(13, 950.0, demand_scale=2.0),
        "flips",
        [Fault(60.0, "swapped", "poc", 30.0)],
    ),
    "13 a hall that says too much": (
        Setting(6, 1250.0, demand_scale=2.0, noise=0.15),
        "none",
        [Fault(60.0, "offset", "hall-a", 100.0, 60.0)],
    ),
    "14 a hall that loses power while the battery serves it": (
        Setting(19, 950.0, demand_scale=1.3),
        "flips",
        [Fault(61.0, "trip hall", "hall-a", 40.0)],
    ),
    "15 killed while the battery serves the load": (LIMITED, "honest", [Fault(70.0, "kill", "site", 1.0, 2.0)]),
    "16 an event comes three times and control is killed before it begins": (
        LIMITED,
        "honest",
        [Fault(30.0, "limit drop", "site", 60.0, 0.85), Fault(60.0, "kill", "site", 1.0, 1.0)],
    ),
    "17 a person takes the battery while it discharges": (LIMITED, "hostile", [Fault(49.0, "local", "bess-1", 51.0)]),
    "18 a battery that somebody else charges": (LIMITED, "none", [Fault(60.0, "other_master", "bess-1", 60.0, 0.7)]),
    "19 a hall that ignores its cap": (LIMITED, "none", [Fault(60.0, "ignores", "hall-b", 60.0)]),
    "20 a full disk": (LIMITED, "honest", [Fault(60.0, "disk full", "site", 60.0)]),
    "21 a load that steps from a tenth to nine tenths": (LIMITED, "honest", [Fault(60.0, "load step", "site", 60.0)]),
    "27 a battery that shows no scale while it discharges": (LIMITED, "flips", [Fault(61.0, "sentinels", "bess-1", 80.0)]),
    "28 a meter that says too much while the battery serves a small load": (
        Setting(13, 950.0, demand_scale=1.6),
        "flips",
        [Fault(600.0, "offset", "poc", 100.0, 60.0)],
    ),
    "29 a hall that ignores its cap while a hostile planner moves power between the halls": (
        Setting(101, 1250.0, "hostile", 2.0, 118800.0),
        "hostile",
        [Fault(60.0, "ignores", "hall-a", 120.0)],
    ),
    "30 a hall keeps its cap though it acknowledges a lower one, the meter frozen and storage empty": (
        Setting(1, 1050.0, "honest", 1.6, 172800.0 + 78300.0, 0.05, EMPTY),
        "honest",
        [Fault(387.0, "frozen meter", "poc", 100.0), Fault(393.0, "deaf", "hall-a", 45.0)],
    ),
    "31 a silent hall, and a meter whose swapped bytes are now and then as good as nothing": (
        Setting(105, 1050.0, "honest", 1.3, 151200.0, 0.05, {"point_of_connection": {"ramp_limit_kw_per_min": 300.0}}),
        "honest",
        [Fault(36.0, "silent", "hall-a", 53.64), Fault(47.0, "swapped", "poc", 26.34)],
    ),
    "33 a battery that another master writes twice, and that trips as the grid goes away": (
        LIMITED,
        "honest",
        [
            Fault(30.0, "other_master", "bess-1", 12.0, 1.0),
            Fault(110.0, "other_master", "bess-1", 12.0, 1.0),
            Fault(190.0, "grid outage", "site", 20.0),
        ],
    ),
    "35 the grid goes away as the only UPS begins to answer with a moved map": (
        LIMITED,
        "honest",
        [Fault(60.0, "moved_map", "ups-1", 47.0), Fault(60.0, "grid outage", "site", 33.0)],
    ),
    "36 a battery that another master writes twice, and that is cut off on both sides of a setpoint": (
        LIMITED,
        "flips",
        [
            Fault(30.0, "other_master", "bess-1", 12.0, 1.0),
            Fault(110.0, "other_master", "bess-1", 12.0, 1.0),
            Fault(190.0, "partition", "site", 24.0, 0.0),
            Fault(260.0, "partition", "site", 41.0, 0.0),
            Fault(340.0, "partition", "site", 17.0, 0.0),
        ],
    ),
    "22 a frozen meter": (LIMITED, "honest", [Fault(60.0, "frozen meter", "poc", 80.0)]),
}


@contextmanager
def watched(setting: Setting, faults: list[Fault], planner: str) -> Iterator[tuple[World, Oracle]]:
    """A world under the eyes of the oracle; its folder is removed at the end."""
    world = World(setting)
    try:
        put(world, faults, planner)
        yield world, Oracle(world, faults)
    finally:
        shutil.rmtree(world.folder, ignore_errors=True)


def broken(setting: Setting, planner: str, faults: list[Fault], seconds: int = 200) -> list[Violation]:
    """What the oracle finds."""
    with watched(setting, faults, planner) as (world, oracle):
        world.run(seconds)
        return oracle.finish()


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str):
    setting, planner, faults = CASES[case]
    assert broken(setting, planner, faults, max(200, int(faults[-1].at_s) + 120)) == []


@pytest.mark.parametrize("strength", [0.2, -0.2])
def test_golden_23_a_ups_whose_gauge_jumps_near_its_reserve_keeps_the_reserve(strength: float):
    """Its charge stands a little above the reserve, a plan takes all it can, and the gauge shows a fifth more."""
    setting = Setting(4, 1100.0, demand_scale=1.6, overrides=FULL_UPS)
    assert broken(setting, "greedy", [Fault(40.0, "soc_jump", "ups-1", 500.0, strength)], 600) == []


def test_golden_32_where_a_person_has_stopped_everything_an_import_over_the_limit_is_named_infeasible():
    """Another master lifts the cap of a hall just after the stop: nothing may be asked of any device, and nobody said the word."""
    setting = Setting(33, 1150.0, "honest", 1.3, 68400.0)
    faults = [Fault(30.0, "other_master", "hall-b", 35.0, 1.0), Fault(37.0, "stop", "site", 60.0)]
    with watched(setting, faults, "honest") as (world, oracle):
        world.run(70)
        assert oracle.finish() == []
        assert oracle.tally.infeasible == 1 and oracle.tally.infeasible_unnamed == []


def test_golden_24_a_cycle_that_breaks_an_invariant_keeps_no_lease_and_feeds_no_watchdog():
    with watched(LIMITED, [], "honest") as (world, _):
        world.run(120)
        loop, beats = world.loop, []
        assert loop is not None

        def breaks(*given: object) -> None:
            raise InvariantBroken("a number that must never become an action")

        loop.controller.decide = breaks  # type: ignore[method-assign,assignment]
        loop.beat.give = lambda: beats.append(world.time.s)  # type: ignore[method-assign]
        world.run(90)
        assert beats == [] and loop.fence.is_stalled
        at_s = EPOCH.timestamp() + world.time.s
        assert all(d.lease_remaining_s(at_s) == 0.0 for d in world.plant.devices.values())


def test_golden_25_what_was_ordered_and_announced_survives_a_kill():
    with watched(LIMITED, [], "honest") as (world, _):
        faults = [Fault(20.0, "limit drop", "site", 3000.0, 0.85)]
        put(world, faults, "none")
        world.run(150)
        before = world.loop.controller.memory()  # type: ignore[union-attr]
        world.kill_control(1.0)
        world.run(10)
        after = world.loop.controller.memory()  # type: ignore[union-attr]
        assert before["obligations"] == after["obligations"] != []
        assert after["critical"] and after["billing"]["month"] == before["billing"]["month"]


def test_golden_26_an_intent_is_in_the_journal_before_anything_is_written():
    with watched(LIMITED, [], "honest") as (world, _):
        world.run(60)
        loop = world.loop
        assert loop is not None
        order: list[str] = []
        journal, field = loop.journal, loop.field
        append, apply = journal.append, field.apply
        journal.append = lambda *a: (order.append("journal"), append(*a))[1]  # type: ignore[method-assign,assignment,misc]
        field.apply = lambda *a, **k: (order.append("field"), apply(*a, **k))[1]  # type: ignore[method-assign,assignment,misc]
        world.run(3)
        assert order[0] == "journal" and order[: order.index("field") + 1] == ["journal", "field"]
