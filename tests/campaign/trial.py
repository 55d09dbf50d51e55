"""One trial: a world, its faults, the oracle's verdict. Plain data in, plain data out, so that it can run in another process."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tests.campaign.faults import Fault, put, schedule
from tests.campaign.oracle import Oracle, Tally, Violation
from tests.campaign.world import Setting, World

FLEXIBLE = 0.5  # share of the trials with a flexible connection
FAIL_SAFE = 0.85  # of its limit
LIMITS_KW = (950.0, 1050.0, 1150.0, 1250.0, 1350.0)


@dataclass(frozen=True)
class Trial:
    """What to run."""

    setting: Setting
    seconds: int
    faults: tuple[Fault, ...]


@dataclass
class Outcome:
    """What came of it. `wall_s` is the only part that differs between two runs."""

    seed: int
    seconds: int
    faults: int
    violations: list[Violation]
    tally: Tally
    journal_hash: str
    wall_s: float
    kinds: dict[str, int] = field(default_factory=dict)


def trial_of(seed: int, seconds: int, planner: str = "") -> Trial:
    """The trial of a seed: limit, load and planner are drawn too."""
    rng = random.Random(f"{seed} setting")
    kind = planner or rng.choice(["honest", "honest", "honest", "none", "hostile"])
    ramp = rng.choice([None, None, 300.0, 600.0])
    limit_kw = rng.choice(LIMITS_KW)
    setting = Setting(
        seed,
        import_limit_kw=limit_kw,
        policy_kind=kind,
        demand_scale=rng.choice([1.0, 1.3, 1.6, 2.0]),
        load_shift_s=3600.0 * rng.randrange(72),
        noise=rng.choice([0.0, 0.05, 0.15]),
        overrides={"point_of_connection": {"ramp_limit_kw_per_min": ramp}} if ramp is not None else {},
    )
    if rng.random() < FLEXIBLE:
        connection = {**setting.overrides.get("point_of_connection", {}), "limits": [flexible(limit_kw)]}
        setting = replace(setting, overrides={"point_of_connection": connection})
    return Trial(setting, seconds, tuple(schedule(seed, seconds)))


def flexible(limit_kw: float) -> dict[str, Any]:
    """A connection whose whole limit counts only while somebody speaks for it."""
    return {"kw": limit_kw, "kind": "connection", "source": "dso", "heartbeat_s": 60.0, "fail_safe_kw": FAIL_SAFE * limit_kw}


def run_trial(trial: Trial, without: Sequence[int] = ()) -> Outcome:
    """Runs a trial, leaving out the faults with these numbers (to shrink it)."""
    faults = [f for k, f in enumerate(trial.faults) if k not in set(without)]
    begun_s = time.perf_counter()
    world = World(trial.setting)
    try:
        put(world, faults, trial.setting.policy_kind)
        oracle = Oracle(world, faults)
        world.run(trial.seconds)
        violations = oracle.finish()
        kinds: dict[str, int] = {}
        for fault in faults:
            kinds[fault.kind] = kinds.get(fault.kind, 0) + 1
        return Outcome(
            trial.setting.seed,
            trial.seconds,
            len(faults),
            violations,
            oracle.tally,
            world.journal_hash(),
            time.perf_counter() - begun_s,
            kinds,
        )
    finally:
        shutil.rmtree(world.folder, ignore_errors=True)
