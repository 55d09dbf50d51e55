"""Thirty-six site-hours of seeded faults in every test run, and the promises that have a number of their own."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.campaign.faults import KINDS, Fault, put
from tests.campaign.oracle import Oracle
from tests.campaign.trial import run_trial, trial_of
from tests.campaign.world import EPOCH, Setting, World

HOUR_S = 3600
SEEDS = range(101, 137)  # 36 site-hours
LEASES_S = {"bess-1": 75.0, "ups-1": 75.0, "hall-a": 60.0, "hall-b": 60.0}


@contextmanager
def watched(setting: Setting, faults: list[Fault], planner: str = "honest") -> Iterator[tuple[World, Oracle]]:
    """A world under the eyes of the oracle; its folder is removed at the end."""
    world = World(setting)
    try:
        put(world, faults, planner)
        yield world, Oracle(world, faults)
    finally:
        shutil.rmtree(world.folder, ignore_errors=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_invariant_breaks_in_an_hour_of_faults(seed: int):
    outcome = run_trial(trial_of(seed, HOUR_S))
    assert outcome.violations == []
    assert outcome.tally.infeasible <= 1 and outcome.tally.cycles > 0.9 * HOUR_S


def test_the_hours_hold_at_least_four_hundred_faults_of_every_kind():
    kinds = Counter(f.kind for seed in SEEDS for f in trial_of(seed, HOUR_S).faults)
    assert sum(kinds.values()) >= 400
    assert set(kinds) == set(KINDS)


def test_the_same_seed_gives_the_same_journal_byte_for_byte_and_another_seed_another():
    hashes = [run_trial(trial_of(seed, 900)).journal_hash for seed in (7, 7, 8)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_load_that_is_on_for_two_seconds_and_off_for_two_crosses_the_limit_three_times_an_hour_at_most():
    faults = [Fault(60.0, "load on-off", "site", HOUR_S)]
    with watched(Setting(1, 1100.0), faults) as (world, oracle):
        world.run(HOUR_S + 60)
        assert oracle.finish() == []
        assert oracle.tally.import_excursions <= 3


@pytest.mark.parametrize("away", ["kill", "pause", "partition"])
def test_a_dead_controller_leaves_every_device_safe_within_its_lease_and_two_seconds(away: str):
    """Five times, while the battery carries load at the limit: killed for good, hung, or cut off."""
    for seed in range(3, 8):
        faults = [Fault(float(300 + seed), "pause", "site", 200.0)]  # nobody can act: what the oracle must know
        with watched(Setting(seed, 1000.0, demand_scale=1.6), []) as (world, oracle):
            oracle.faults = faults
            world.at(faults[0].at_s, lambda world=world: _take_away(world, away))
            world.run(int(faults[0].at_s) + 100)
            for name, lease_s in LEASES_S.items():
                device = world.plant.devices[name]
                assert device.lease_remaining_s(EPOCH.timestamp() + world.time.s) == 0.0 and lease_s + 2.0 < 100.0
                assert _is_safe(device), f"{away} seed {seed}: {name} {device.registers}"
            assert oracle.tally.import_longest_s <= 2


def _take_away(world: World, how: str) -> None:
    if how == "kill":
        world._bury()
    elif how == "pause" and world.control is not None:
        world.control.is_paused = True
    else:
        for endpoint in world.bus.endpoints.values():
            endpoint.begin("silent", 1e9)


def _is_safe(device: object) -> bool:
    if "power_cap_kw" in device.registers:  # type: ignore[attr-defined]
        return bool(device.registers["power_cap_kw"] <= device.rating.contract_cap_kw + 0.5)  # type: ignore[attr-defined]
    return all(kw == 0.0 for kw in device.registers.values())  # type: ignore[attr-defined]


def test_a_paused_instance_that_wakes_beside_its_successor_writes_nothing_in_two_hundred_trials():
    """The old one hangs at a random point of its cycle; the next one takes over; the old one goes on with everything it had in mind."""
    written = 0
    for seed in range(20):
        with watched(Setting(seed, 1050.0, demand_scale=1.6), []) as (world, _):
            world.run(30)
            for _ in range(10):
                old = world.control
                assert old is not None
                world.run(2)
                world._advance_to(world.time.s + world.rng.random())
                world.start_control()  # the lock was broken or lies on another host
                old_epoch = world.loop.fence.epoch - 1
                with _both(world, old):
                    world.run(6)
                written += sum(w.writer <= old_epoch for w in world.bus.writes if w.at_s > world.starts[-1])
    assert written == 0


@contextmanager
def _both(world: World, old: object) -> Iterator[None]:
    """Both processes run."""
    world.others.append(old)
    yield
    world.others.remove(old)


def test_a_process_that_was_paused_reads_everything_again_before_it_writes():
    for seed in range(10):
        with watched(Setting(seed, 1050.0, demand_scale=1.6), []) as (world, _):
            world.run(60)
            assert world.control is not None
            world.control.is_paused = True
            world.run(30)
            begun_s, before = world.time.s, len(world.bus.writes)
            world.bus.last_read_s.clear()
            world.control.is_paused = False
            world.run(5)
            for write in world.bus.writes[before:]:
                assert world.bus.last_read_s[write.asset] >= begun_s


def test_an_hour_without_faults_raises_no_alarm():
    with watched(Setting(5, 1150.0, demand_scale=1.3), []) as (world, oracle):
        world.run(HOUR_S)
        assert oracle.finish() == [] and oracle.tally.alarms == 0


def test_some_of_the_hours_have_a_planner_that_is_hostile_every_second():
    assert sum(trial_of(seed, HOUR_S).setting.policy_kind == "hostile" for seed in SEEDS) >= 4
