"""Weeks in closed loop on the shared data under one planner setting each: what the benchmarks of uncertainty and of forecasters share.

WEEKS are none of the sweep's and of no named scenario: settings may be chosen on them. NAMED are the scenarios of those names: looked at,
never chosen on. The load traces are those of every week of 2024 here (there are ten days of them), in other pairings; prices and weather
are the week's own. Finished cases are kept beside this file (.closed-loop/) until the code changes, so that an interrupted run goes on
where it stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
CACHE = Path(__file__).with_name(".closed-loop")
BASE = CHECKOUT / "config" / "scenarios" / "real-week.yaml"
INPUTS = ("ems/plan/*.py", "ems/forecast/*.py", "ems/dispatch/*.py", "ems/assets/**/*.py", "config/sites/demo-2mw.yaml")


@dataclass(frozen=True)
class Week:
    """A week of 2024: its begin and that of the traces (three days of history), days skipped of hall-a's trace, seed, import limit."""

    start: str
    end: str
    begins: str
    skip_days: int
    seed: int
    limit_kw: float


WEEKS = {
    "february": Week("2024-02-12T06:00:00Z", "2024-02-19T06:00:00Z", "2024-02-09T06:00:00Z", 0, 7, 1370.0),
    "april": Week("2024-04-08T05:00:00Z", "2024-04-15T05:00:00Z", "2024-04-05T05:00:00Z", 1, 8, 1370.0),
    "june": Week("2024-06-10T05:00:00Z", "2024-06-17T05:00:00Z", "2024-06-07T05:00:00Z", 2, 9, 1302.0),
    "september": Week("2024-09-16T05:00:00Z", "2024-09-23T05:00:00Z", "2024-09-13T05:00:00Z", 3, 10, 1370.0),
    "march": Week("2024-03-29T05:00:00Z", "2024-04-05T05:00:00Z", "2024-03-26T05:00:00Z", 4, 11, 1438.0),  # two billing months
}
NAMED = {
    "real-week": Week("2024-08-19T05:00:00Z", "2024-08-26T05:00:00Z", "2024-08-16T05:00:00Z", 0, 7, 1370.0),
    "real-week-dull": Week("2024-07-01T05:00:00Z", "2024-07-08T05:00:00Z", "2024-06-28T05:00:00Z", 0, 7, 1370.0),
}
ALL = {**WEEKS, **NAMED}


@dataclass(frozen=True)
class Cadence:
    """How often control decides and the plan is made, in seconds."""

    control_s: int
    plan_s: int


@dataclass(frozen=True)
class Case:
    """One week under one setting."""

    week: str
    setting: str
    cadence: Cadence

    @property
    def folder(self) -> Path:
        return CACHE / f"{self.week}-{self.setting.replace(' ', '-')}-{self.cadence.control_s}-{self.cadence.plan_s}"


def weeks_asked(about: str | None, usual: Sequence[str]) -> list[str]:
    """The weeks of the command line, `usual` without any; ends with one line where one is not known or the data are absent."""
    parser = argparse.ArgumentParser(description=(about or "").splitlines()[0])
    parser.add_argument("--weeks", type=lambda text: text.split(","), default=list(usual))
    weeks: list[str] = parser.parse_args().weeks
    os.environ.setdefault("EMS_DATA_DIR", str(CHECKOUT.parent / "shared" / "data"))
    if not Path(os.environ["EMS_DATA_DIR"]).is_dir() or set(weeks) - set(ALL):
        parser.error(f"expected the real data in EMS_DATA_DIR, and weeks of {', '.join(ALL)}")
    return weeks


Prepare = Callable[[Any, Any], None]  # takes the run and its world


def result_of(case: Case, policy: str = "plan", prepare: Prepare | None = None) -> dict[str, Any]:
    """The summary of a case, from the cache where it was made by this code. `bound` is a policy too."""
    code = code_hash()
    kept = case.folder / "result.json"
    if kept.exists() and (result := json.loads(kept.read_text()))["code"] == code:
        return dict(result)
    case.folder.mkdir(parents=True, exist_ok=True)
    (CACHE / ".gitignore").write_text("*\n")
    result = _run(case, policy, prepare)
    kept.write_text(json.dumps({**result, "code": code}))
    return result


def _run(case: Case, policy: str, prepare: Prepare | None) -> dict[str, Any]:
    from ems.replay.bound import bound_of
    from ems.replay.runner import Run
    from ems.replay.scenario import load_scenario
    from ems.replay.world import build_world

    path = case.folder / "scenario.yaml"
    path.write_text(scenario_text(ALL[case.week], case.cadence))
    world = build_world(load_scenario(path), ALL[case.week].seed)
    if policy == "bound":
        bound = bound_of(world, lambda done: None)
        return {"total": bound["total"], "cost": {k: float(v) for k, v in bound["cost"].items()}, "peak_kw": bound["peak_kw"]}
    run = Run(world, policy)
    if prepare is not None:
        prepare(run, world)
    summary = run.execute(case.folder, lambda done: None)
    for name in ("timeseries.parquet", "decisions.jsonl"):
        (case.folder / name).unlink()
    return {
        "total": summary["cost"]["total"],
        "cost": {k: v for k, v in summary["cost"].items() if k != "currency"},
        "peak_kw": summary["peak"]["import_kw"],
        "over_s": summary["limits"]["import_excursion_s"],
        "reserve_s": summary["limits"]["reserve_shortfall_s"],
        "forecast": summary["forecast"]["load_kw"],
        "planner": summary["planner"],
    }


def scenario_text(week: Week, cadence: Cadence) -> str:
    """real-week with another window, seed, skip, limit and cadence."""
    text = BASE.read_text()
    skipped = f"begins_at: 2024-08-16T05:00:00Z\n      skip_s: {week.skip_days * 86400}\n"
    changes = {
        "site: ../sites/demo-2mw.yaml": f"site: {CHECKOUT / 'config' / 'sites' / 'demo-2mw.yaml'}",
        "import_limit_kw: 1370": f"import_limit_kw: {week.limit_kw:g}",
        "start: 2024-08-19T05:00:00Z": f"start: {week.start}",
        "end: 2024-08-26T05:00:00Z": f"end: {week.end}",
        "control_step_s: 5": f"control_step_s: {cadence.control_s}",
        "plan_every_s: 300": f"plan_every_s: {cadence.plan_s}",
        "seed: 7": f"seed: {week.seed}",
        "begins_at: 2024-08-16T05:00:00Z\n": skipped,
    }
    for old, new in changes.items():
        if old not in text:
            raise SystemExit(f"{BASE.name} no longer holds {old!r}")
        text = text.replace(old, new, 1)
    return text.replace("2024-08-16T05:00:00Z", week.begins)


def share(result: dict[str, Any], capped: dict[str, Any], bound: dict[str, Any]) -> float:
    """The part of what could have been saved that was."""
    return float((capped["total"] - result["total"]) / (capped["total"] - bound["total"]))


def code_hash() -> str:
    """A fingerprint of what a result depends on, save the data, the plant and the guard."""
    digest = hashlib.sha256()
    for pattern in INPUTS:
        for path in sorted(CHECKOUT.glob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
