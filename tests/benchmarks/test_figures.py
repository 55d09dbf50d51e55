"""What a replayed day, a control cycle and a mailbox post cost."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ems.control.controller import Controller
from ems.control.cycle import encode_cycle
from ems.control.ladder import Level
from ems.control.snapshot import encode_snapshot
from ems.mailbox import Mailbox
from ems.messages import Mode
from ems.plan.plan import encode_plan
from ems.replay.field import SimulatedField
from ems.site.model import Site
from simulators.plant import Plant
from tests.benchmarks.large_site import large_site
from tests.benchmarks.measure import note, quiet_heap, spread
from tests.benchmarks.table import Figure
from tests.control.loop import START, demo_site, even
from tests.control.plans import flat_plan

pytestmark = [pytest.mark.bench, pytest.mark.timeout(300)]

CYCLES, RUNS, WARM_UP, POSTS = 2000, 3, 100, 2000


@pytest.mark.parametrize("policy", ["capped", "plan"])
def test_replay_of_a_day(policy: str, tmp_path: Path) -> None:
    argv = ["replay", "generated-day", "--policy", policy, "--jobs", "2", "--out", str(tmp_path / "out")]
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", "from ems.app.cli import main; main()", *argv], check=True, capture_output=True)
    wall_s = time.perf_counter() - begun
    summary = json.loads(next((tmp_path / "out").rglob("summary.json")).read_text())
    command = " ".join(["ems", *argv[:-2]])
    words = f"{wall_s:.1f} s the whole command (with the bound and the report); the replay itself {summary['wall_s']:.1f} s"
    note(Figure(f"replay of a day, 5-s control, policy {policy}", words, "≤ 60 s", command))


@dataclass
class Cycles:
    """Milliseconds by cycle: wall and processor time of `decide`, and of decide, journal entry and snapshot together."""

    decide_ms: list[float] = field(default_factory=list)
    decide_cpu_ms: list[float] = field(default_factory=list)
    whole_ms: list[float] = field(default_factory=list)
    whole_cpu_ms: list[float] = field(default_factory=list)
    snapshot: dict[str, Any] = field(default_factory=dict)


def now_ms() -> tuple[float, float]:
    """Wall and processor time of this thread."""
    return 1000 * time.perf_counter(), 1000 * time.thread_time()


def timed_cycles(site: Site, cycles: int) -> Cycles:
    """So many cycles after the warm-up, in closed loop with the simulated plant; what the plant takes is not in the times."""
    plant, rng, now = Plant(site, seed=1, starts_lapsed=True), random.Random(7), START
    equipment, controller = SimulatedField(plant), Controller(site, "plan", dict.fromkeys(site.assets, Mode.CONTROL))
    timed, level = Cycles(), Level.L5
    for k in range(cycles + WARM_UP):
        news = [("plan", encode_plan(flat_plan(site, now, -100.0)))] if k % 300 == 0 else []
        demand = {c.id: even(max(0.0, 0.8 * (c.peak_kw - c.idle_kw) * (1 + 0.2 * rng.gauss(0, 1)))) for c in site.clusters}
        plant.step(1.0, now, demand, 35.0)
        equipment.flush(now.timestamp())
        image = equipment.image(now)
        begun, begun_cpu = now_ms()
        decision = controller.decide(image, news, now)
        decided, decided_cpu = now_ms()
        encode_cycle(image, news, True, decision)
        timed.snapshot = encode_snapshot(controller, decision, image, {})
        ended, ended_cpu = now_ms()
        if k >= WARM_UP:
            timed.decide_ms.append(decided - begun)
            timed.decide_cpu_ms.append(decided_cpu - begun_cpu)
            timed.whole_ms.append(ended - begun)
            timed.whole_cpu_ms.append(ended_cpu - begun_cpu)
        level = decision.rung.level
        equipment.apply(decision.written, refresh_leases=decision.is_healthy, astray=decision.astray)
        now += timedelta(seconds=1)
    assert level is Level.L0, "the plan is followed"
    return timed


def of_runs(runs: Sequence[Sequence[float]]) -> str:
    """The quietest run and the worst p99: the same code in the same process, so what differs is the machine."""
    p99 = [float(np.percentile(run, 99)) for run in runs]
    quietest = runs[int(np.argmin(p99))]
    return f"p50 {np.median(quietest):.2f}, p99 {min(p99):.2f} ms (worst of {len(runs)} runs: p99 {max(p99):.2f})"


def test_control_cycle_without_input_and_output() -> None:
    large = "20 devices (3 batteries, 3 UPS, 12 halls, 1 cooling, 1 meter)"
    sites = {"the demo site's 6 devices": demo_site(), large: large_site(3, 3, 12, 1)}
    assert [len(site.links) for site in sites.values()] == [6, 20]
    command = "bench -k control_cycle"
    with quiet_heap():
        for words, site in sites.items():
            runs = [timed_cycles(site, CYCLES) for _ in range(RUNS)]
            aim = "p99 ≤ 5 ms" if words == large else "-"
            decide = f"wall {of_runs([r.decide_ms for r in runs])}; processor {of_runs([r.decide_cpu_ms for r in runs])}"
            whole = f"wall {of_runs([r.whole_ms for r in runs])}; processor {of_runs([r.whole_cpu_ms for r in runs])}"
            more = f"the same with journal entry and snapshot as plain data, {len(site.links)} devices"
            note(Figure(f"control cycle without I/O, {words}: `decide`", decide, aim, command), Figure(more, whole, aim, command))


def test_mailbox_post(tmp_path: Path) -> None:
    snapshot = timed_cycles(large_site(3, 3, 12, 1), 1).snapshot
    control, supervisor = Mailbox(tmp_path / "mailbox.db", checkpoints=False), Mailbox(tmp_path / "mailbox.db")
    took_ms, now = [], START
    for k in range(POSTS):
        begun = time.perf_counter()
        sent = control.post("snapshot", snapshot, now, now + timedelta(seconds=30))
        took_ms.append(1000 * (time.perf_counter() - begun))
        assert sent is not None
        if k % 100 == 99:
            supervisor.checkpoint()
    size = len(json.dumps(snapshot)) / 1000
    words = f"{spread(took_ms)}; {POSTS} posts, the supervisor's checkpoint each 100"
    note(Figure(f"mailbox post of a snapshot of 20 devices ({size:.0f} kB)", words, "-", "bench -k mailbox"))
