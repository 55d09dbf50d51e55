"""Random kills of the real control process, and one at every named point, while orders come in: what was acknowledged must be there after.

    python tests/campaign/kills.py [--kills 200] [--seed 1] [--table]

Real processes, files, sockets; the simulated demo site at 20 times real time. Counted: acknowledged orders that the journal does not have,
orders it has twice, breaks of the chain, wall seconds from the start of the next process to its first cycle and to full mode (a fresh plan
is followed), cycles whose re-run differs. Written to kills.md with --table.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ems.app.rerun import rerun_journal
from ems.journal.read import read_journal, verify_journal
from ems.messages import Mode, Order, OrderKind
from ems.plan.plan import encode_plan
from tests.app.rig import PATIENT_S, Rig, spawn, until, waited_s
from tests.campaign.crash_control import POINTS
from tests.control.plans import flat_plan

TABLE = Path(__file__).with_name("kills.md")
SPEED = 20.0
PASSES = {"while letting go": 1, "before the first poll": 1, "between two journal files": 1, "after the next journal file": 1}
FIRST_CYCLE_S, FULL_MODE_S = 2.0, 10.0
FEWEST_ORDERS = 5  # fewer acknowledged prove nothing


@dataclass
class Tally:
    """What was counted over all kills."""

    kills: int = 0
    points: list[str] = field(default_factory=list)
    first_cycle_s: list[float] = field(default_factory=list)
    full_mode_s: list[float] = field(default_factory=list)
    waited_s: list[float] = field(default_factory=list)  # of the time to full mode: control was ready and had no core
    given: int = 0
    acknowledged: set[int] = field(default_factory=set)
    lost: list[int] = field(default_factory=list)
    twice: list[int] = field(default_factory=list)
    broken: str = ""
    cycles: int = 0
    differing: int = 0
    excursion_s: float = 0.0
    shortfall_s: float = 0.0

    @property
    def is_good(self) -> bool:
        """True when every promise held."""
        in_time = max(self.first_cycle_s, default=0.0) <= FIRST_CYCLE_S and max(self.full_mode_s, default=0.0) <= FULL_MODE_S
        return in_time and not (self.lost or self.twice or self.broken or self.differing)


class Victim:
    """One rig whose control process dies again and again."""

    def __init__(self, rig: Rig, tally: Tally, rng: random.Random) -> None:
        self.rig, self.tally, self.rng = rig, tally, rng
        self._heard = 0

    def start(self, point: str = "") -> float:
        """Starts control (with a crash point, when given); the wall second at which it began."""
        state = str(self.rig.state.path)
        argv = ["-m", "ems.app.control", state]
        if point:
            argv = ["-m", "tests.campaign.crash_control", point, str(PASSES.get(point, 5)), state]
        self.rig.control = spawn(argv, self.rig.state.path / "log")
        return time.perf_counter()

    def come_back(self) -> None:
        """A plain start after a kill: the times until its first cycle and until the plan is followed."""
        self.plan()
        asked_at = self.rig.clock.now()
        began_s = self.start()
        until(lambda: self.rig.snapshot_since(asked_at), PATIENT_S, "a first cycle")
        self.tally.first_cycle_s.append(time.perf_counter() - began_s)
        until(lambda: (s := self.rig.snapshot_since(asked_at)) and s["level"] in ("L0", "L1"), PATIENT_S, "the plan is followed")
        self.tally.full_mode_s.append(time.perf_counter() - began_s)
        assert self.rig.control is not None
        self.tally.waited_s.append(waited_s([self.rig.control.pid]))

    def plan(self) -> None:
        """A plan that is good for the next while."""
        now = self.rig.clock.now()
        plan = flat_plan(self.rig.run_file.site, now, 20.0)
        self.rig.mailbox.post("plan", encode_plan(plan), now, plan.valid_until)

    def order(self) -> None:
        """An order like no other."""
        now = self.rig.clock.now()
        self.tally.given += 1
        kw = float(self.rng.randrange(-100, 100))
        order = Order(OrderKind.OVERRIDE, "bess-1", "A. Tester", f"order {self.tally.given}", now, kw=kw, until=now + timedelta(hours=1))
        self.rig.mailbox.post("order", order.encode(), now, now + timedelta(minutes=10))

    def live(self, seconds: float) -> None:
        """Lets it run for so many wall seconds, orders coming in."""
        ends_s = time.perf_counter() + seconds
        while time.perf_counter() < ends_s:
            self.order()
            time.sleep(min(self.rng.uniform(0.02, 0.2), max(0.0, ends_s - time.perf_counter())))
            self.hear()

    def hear(self) -> None:
        """Takes down which orders were acknowledged."""
        for message in self.rig.mailbox.since("order_ack", self._heard):
            self._heard = message.sequence
            self.tally.acknowledged.add(int(message.body["sequence"]))

    def kill(self) -> None:
        """kill -9."""
        assert self.rig.control is not None
        self.rig.control.kill()
        self.rig.control.wait()
        self.hear()
        self.tally.kills += 1

    def die_at(self, point: str) -> None:
        """Runs until it kills itself at the point."""
        self.plan()
        asked_at = self.rig.clock.now()
        self.start(point)
        assert self.rig.control is not None
        ends_s = time.perf_counter() + PATIENT_S
        is_told = False
        while self.rig.control.poll() is None:
            assert time.perf_counter() < ends_s, f"{point}: not reached"
            self.order()
            if point == "while letting go" and not is_told and self.rig.snapshot_since(asked_at) is not None:
                self.rig.control.terminate()
                is_told = True
            time.sleep(0.05)
        assert self.rig.control.returncode == -9, f"{point}: ended with {self.rig.control.returncode}"
        self.hear()
        self.tally.points.append(point)


def run(folder: Path, kills: int, seed: int, points: Sequence[str]) -> Tally:
    """The kills, then the points; everything is judged from the files at the end."""
    tally, rng = Tally(), random.Random(seed)
    with Rig(folder, SPEED, Mode.CONTROL) as rig:
        victim = Victim(rig, tally, rng)
        victim.come_back()
        for number in range(kills):
            victim.live(rng.uniform(0.05, 1.2))
            victim.kill()
            victim.come_back()
            if sys.stderr.isatty() or number % 20 == 19:
                print(f"{number + 1} kills, {len(tally.acknowledged)} orders acknowledged", flush=True)
        for point in points:
            victim.kill()
            tally.kills -= 1
            victim.die_at(point)
            victim.come_back()
        victim.live(0.5)
        until(lambda: (victim.order(), victim.hear(), len(tally.acknowledged) > FEWEST_ORDERS)[-1], PATIENT_S, "orders are acknowledged")
        victim.kill()
        tally.kills -= 1
        plant = rig.plant()
        tally.excursion_s, tally.shortfall_s = plant["excursions"]["seconds"], plant["reserve_shortfall_s"]
    judge(folder, tally)
    return tally


def judge(folder: Path, tally: Tally) -> None:
    """What the journal says."""
    tally.broken = verify_journal(folder) or ""
    times = Counter(int(entry.body["sequence"]) for entry in read_journal(folder, "order"))
    tally.lost = sorted(tally.acknowledged - set(times))
    tally.twice = sorted(sequence for sequence, n in times.items() if n > 1)
    again = rerun_journal(folder)
    tally.cycles, tally.differing = again.cycles, again.differing


def table(tally: Tally, seed: int, commit: str) -> str:
    """The page."""

    def spread(seconds: list[float]) -> str:
        ordered = sorted(seconds)
        return f"median {ordered[len(ordered) // 2]:.2f}, p99 {ordered[int(0.99 * (len(ordered) - 1))]:.2f}, worst {ordered[-1]:.2f}"

    rows = [
        ("random kill -9 of the control process", f"{tally.kills}"),
        ("named points at which it was killed", f"{len(tally.points)} of {len(POINTS)}"),
        ("orders given, acknowledged", f"{tally.given}, {len(tally.acknowledged)}"),
        ("acknowledged orders lost", f"{len(tally.lost)}"),
        ("orders taken twice", f"{len(tally.twice)}"),
        ("hash chain over all files", tally.broken or "whole"),
        ("wall s from start to the first cycle (≤ 2)", spread(tally.first_cycle_s)),
        ("wall s from start to a followed plan (≤ 10)", spread(tally.full_mode_s)),
        ("cycles decided again, setpoints that differ", f"{tally.cycles}, {tally.differing}"),
        ("s over the import limit, s short of reserve (plant)", f"{tally.excursion_s:g}, {tally.shortfall_s:g}"),
    ]
    lines = [f"| {what} | {value} |" for what, value in rows]
    head = ["# Kills of the real control process", "", f"`python tests/campaign/kills.py --kills {tally.kills} --seed {seed} --table`,"]
    head += [f"commit {commit}, on a machine of two cores shared with other work.", "", "| | |", "|---|---|"]
    return "\n".join([*head, *lines, "", "Points: " + "; ".join(tally.points) + ".", ""])


def main(argv: Sequence[str]) -> int:
    """Runs, prints and, when asked, writes the table; 1 when a promise did not hold."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--kills", type=int, default=200)
    ask.add_argument("--seed", type=int, default=1)
    ask.add_argument("--table", action="store_true")
    given = ask.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        tally = run(Path(folder), given.kills, given.seed, list(POINTS))
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    text = table(tally, given.seed, commit)
    print(text)
    if given.table:
        TABLE.write_text(text)
    return 0 if tally.is_good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
