"""The demand-charge scenario on development weeks, with settings of the planner changed: what was tried for the billing peak.

    python -m tests.benchmarks.expected_peak [--weeks april,june] [--set FACTOR=1.12,FIRST_GUESS=0.86] [--control-s 30]

Two to three minutes a week; the data folder is EMS_DATA_DIR. The weeks of `make results` are others. Control every 30 s, a plan every
300 s, the plant 5 s and 10 % off.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ems.plan import headroom, peak, values
from ems.replay.bound import bound_of
from ems.replay.runner import Run
from ems.replay.scenario import load_scenario
from ems.replay.world import World, build_world
from tests.campaign import results_cases
from tests.campaign.results_cases import Case, scenario_text

HOMES = {
    "FACTOR": peak,
    "FIRST_GUESS": peak,
    "READINESS_PER_KWH_H": values,
    "SHORTFALL_PRICE_PER_KWH": headroom,
}


@dataclass(frozen=True)
class Week:
    """Where it begins, which plant it draws, how far into the trace it starts."""

    begin: str
    seed: int
    skip_days: int


WEEKS = {
    "february": Week("2024-02-12T06:00:00Z", 21, 0),
    "april": Week("2024-04-08T05:00:00Z", 22, 2),
    "june": Week("2024-06-10T05:00:00Z", 23, 1),
    "september": Week("2024-09-16T05:00:00Z", 24, 4),
}


def main() -> None:
    """One line per week."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weeks", default=",".join(WEEKS))
    parser.add_argument("--set", default="", help="settings, such as FACTOR=1.12")
    parser.add_argument("--control-s", type=int, default=30, help="seconds between two cycles of control")
    given = parser.parse_args()
    for word in filter(None, given.set.split(",")):
        name, value = word.split("=")
        setattr(HOMES[name], name, float(value))
    for name in given.weeks.split(","):
        print(line(name, WEEKS[name], given.control_s), flush=True)


def line(name: str, week: Week, control_s: int) -> str:
    """Costs, peak and share of the bound's saving over `capped`."""
    with tempfile.TemporaryDirectory() as kept:
        folder = Path(kept)
        world = world_of(name, week, folder, control_s)
        capped = Run(world, "capped").execute(folder / "capped", lambda done: None)["cost"]["total"]
        bound = bound_of(world_of(name, week, folder, control_s), lambda done: None)["total"]
        plan = Run(world_of(name, week, folder, control_s), "plan").execute(folder / "plan", lambda done: None)
    cost = plan["cost"]
    share = (capped - cost["total"]) / (capped - bound)
    money = " | ".join(f"{cost[k]:,.0f}" for k in ("energy", "demand", "workload", "wear"))
    return f"| {name} | {cost['total']:,.0f} | {100 * share:.0f} % | {plan['peak']['import_kw']:,.0f} | {money} |"


def world_of(name: str, week: Week, folder: Path, control_s: int) -> World:
    """A new world of the week: a run spends it."""
    results_cases.WEEKS[name] = week.begin
    case = Case("demand-charge", week.seed, (), name, week.skip_days, changes={"control_step_s": str(control_s)})
    path = folder / "scenario.yaml"
    path.write_text(scenario_text(case))
    return build_world(load_scenario(path), week.seed)


if __name__ == "__main__":
    main()
