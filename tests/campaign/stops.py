"""Clean stops of the real control process while its battery works: how long it takes to let go of the site, exactly, at real time.

    python tests/campaign/stops.py [--stops 10] [--seed 1] [--table]

Real processes, files, sockets. Counted: wall seconds from SIGTERM to the end of the process (10 promised), and within it the time in which
it was ready and had no core; exit status; whether caps and idle storage were confirmed before release; what the plant then shows; seconds
over the import limit. A stop that took longer than promised only because it had no core is shown as what it is: late. `--table` writes the
row of promises.md.
"""

from __future__ import annotations

import argparse
import datetime
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ems.journal.read import read_journal, verify_journal
from ems.messages import Mode
from ems.plan.plan import encode_plan
from tests.app.rig import PATIENT_S, Rig, until, waited_s
from tests.campaign.campaign import commit
from tests.campaign.promises import TABLE, written
from tests.control.plans import flat_plan

ROW = "clean stop: devices safe and released, process gone ≤ 10 s after SIGTERM"
PROMISED_S = 10.0
SPEED = 1.0
IDLE_KW = 10.0  # two hundredths of the battery
WORKS = 0.8  # of what the plan says: the battery follows


@dataclass(frozen=True)
class Stop:
    """One stop: what it took, and what stood after it."""

    kw: float  # the battery's power at SIGTERM
    took_s: float
    waited_s: float  # of it, the process was ready and had no core
    wrong: str  # "" when all is well


def stop(rig: Rig, kw: float) -> Stop:
    """Starts control, lets the battery work at a power, and stops it."""
    now = rig.clock.now()
    plan = flat_plan(rig.run_file.site, now, kw)
    rig.mailbox.post("plan", encode_plan(plan), now, plan.valid_until)
    rig.start_control()
    until(lambda: abs(rig.plant()["asset_kw"]["bess-1"]) >= WORKS * abs(kw), PATIENT_S, f"the battery works at {kw:.0f} kW")
    control = rig.control
    assert control is not None
    before_s, began_s = waited_s([control.pid]), time.perf_counter()
    control.send_signal(signal.SIGTERM)
    waiting_s = before_s
    while control.poll() is None:
        waiting_s = max(waiting_s, waited_s([control.pid]))
        time.sleep(0.01)
    took_s = time.perf_counter() - began_s
    return Stop(kw, took_s, waiting_s - before_s, _wrong(rig, control.returncode))


def _wrong(rig: Rig, status: int) -> str:
    last = list(read_journal(rig.state.path, "stop"))[-1]
    if status or not last.body["was_confirmed"]:
        return f"exit {status}, confirmed: {last.body['was_confirmed']}"
    plant = rig.plant_after(rig.clock.now())
    caps = {c.id: plant["commands"][c.id]["power_cap_kw"] - c.contract_cap_kw for c in rig.run_file.site.clusters}
    if abs(plant["asset_kw"]["bess-1"]) > IDLE_KW or max(caps.values()) > 1.0:
        return f"battery at {plant['asset_kw']['bess-1']:.0f} kW, caps {max(caps.values()):.0f} kW over the contract"
    return "" if plant["excursions"]["seconds"] == 0 else f"{plant['excursions']['seconds']:g} s over the import limit"


def words(stops: Sequence[Stop]) -> str:
    """One cell of the table."""
    slowest = max(stops, key=lambda s: s.took_s)
    late = sum(s.took_s > PROMISED_S for s in stops)
    wrong = "; ".join(s.wrong for s in stops if s.wrong) or "devices safe each time, 0 s over the limit"
    return (
        f"{len(stops)} stops with the battery between {min(s.kw for s in stops):.0f} and {max(s.kw for s in stops):.0f} kW: "
        f"{sorted(s.took_s for s in stops)[len(stops) // 2]:.1f} s in the middle, {slowest.took_s:.1f} s at most "
        f"(of it {slowest.waited_s:.1f} s without a core), {late} late; {wrong}"
    )


def main(argv: Sequence[str]) -> int:
    """Runs and prints; 1 when a stop was late or left something behind."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--stops", type=int, default=10)
    ask.add_argument("--seed", type=int, default=1)
    ask.add_argument("--table", action="store_true")
    given = ask.parse_args(argv)
    if given.stops < 1:
        print("stops must be at least 1", file=sys.stderr)
        return 2
    rng = random.Random(given.seed)
    with tempfile.TemporaryDirectory(prefix="stops-") as folder, Rig(Path(folder), SPEED, Mode.CONTROL) as rig:
        stops = []
        for _ in range(given.stops):
            stops.append(stop(rig, -rng.uniform(100.0, 400.0)))
            print(f"{stops[-1].kw:.0f} kW: {stops[-1].took_s:.2f} s {stops[-1].wrong}", flush=True)
        broken = verify_journal(Path(folder))
    text = words(stops) + (f"; {broken}" if broken else "")
    print(text)
    if given.table:
        command = f"`python tests/campaign/stops.py --stops {given.stops} --seed {given.seed} --table`"
        day = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {commit()}"
        TABLE.write_text(written(TABLE.read_text(), ROW, (text, command, day)))
    return 1 if broken or any(s.wrong or s.took_s > PROMISED_S for s in stops) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
