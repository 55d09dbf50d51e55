"""Seeds x weeks x limits: do the limits hold, and the order of the policies, everywhere? `make sweep`, up to an hour on two cores.

Each case is one week under capped, rules, plan and the bound: a 30-s control step, the plant at 5 s. A seed moves the texture of hall-b
and skips that many days of hall-a's trace. Cases are kept beside this file (.sweep/) until the code or the site changes, so an
interrupted sweep goes on where it stopped. The table of a whole sweep is written to sweep.md; exit 1 when a requirement fails.

    python tests/campaign/sweep.py [--jobs 2] [--seeds 7,8] [--weeks august] [--limits 1.0] [--keep]
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import statistics
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
CACHE = Path(__file__).with_name(".sweep")
TABLE = Path(__file__).with_name("sweep.md")
BASE = CHECKOUT / "config" / "scenarios" / "real-week.yaml"
POLICIES = ("capped", "rules", "plan")
SEEDS = (7, 8, 9, 10, 11)
LIMITS = (1.0, 0.95, 1.05)
WEEKS = {  # name -> start, end, begin of the traces (three days of history)
    "august": ("2024-08-19T05:00:00Z", "2024-08-26T05:00:00Z", "2024-08-16T05:00:00Z"),  # real-week: 4,853 USD/MWh
    "july": ("2024-07-01T05:00:00Z", "2024-07-08T05:00:00Z", "2024-06-28T05:00:00Z"),  # real-week-dull
    "january": ("2024-01-13T06:00:00Z", "2024-01-20T06:00:00Z", "2024-01-10T06:00:00Z"),  # a winter storm
    "may": ("2024-05-06T05:00:00Z", "2024-05-13T05:00:00Z", "2024-05-03T05:00:00Z"),  # scarce evenings in spring
    "november": ("2024-10-30T05:00:00Z", "2024-11-06T05:00:00Z", "2024-10-27T05:00:00Z"),  # a new billing month and the end of DST
}
INPUTS = ("ems/**/*.py", "simulators/**/*.py", "config/sites/demo-2mw.yaml", "config/tariffs/*.yaml", "config/scenarios/real-week.yaml")
MOST_EXCURSION_S = 60.0
LEAST_SHARE, WORTH_A_SHARE = 0.30, 0.01


@dataclass(frozen=True)
class Case:
    """One week under one seed and one limit (a factor on the scenario's)."""

    week: str
    seed: int
    limit: float

    @property
    def name(self) -> str:
        return f"{self.week}-{self.seed}-{round(100 * self.limit)}"

    @property
    def skip_days(self) -> int:
        return (self.seed - SEEDS[0]) % 5


# Every week under every seed; then every week at the other limits, each under a seed of its own.
CASES = [Case(w, s, LIMITS[0]) for w in WEEKS for s in SEEDS]
CASES += [Case(w, SEEDS[(i + k) % len(SEEDS)], x) for k, x in enumerate(LIMITS[1:]) for i, w in enumerate(WEEKS)]


def main() -> int:
    """Runs what is missing, writes the table, prints the verdict."""
    args = arguments()
    os.environ.setdefault("EMS_DATA_DIR", str(CHECKOUT.parent / "shared" / "data"))
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if not Path(os.environ["EMS_DATA_DIR"]).is_dir():
        print("the sweep needs the real data: set EMS_DATA_DIR", file=sys.stderr)
        return 2
    CACHE.mkdir(exist_ok=True)
    (CACHE / ".gitignore").write_text("*\n")
    cases = [c for c in CASES if c.limit in args.limits and c.week in args.weeks and c.seed in args.seeds]
    code = code_hash()
    done = {case: kept for case in cases if (kept := cached(case, None if args.keep else code)) is not None}
    missing = [case for case in cases if case not in done]
    print(f"{len(cases)} cases, {len(done)} already known", file=sys.stderr)
    run_cases(missing, code, args.jobs, done)
    rows = [(case, done[case]) for case in cases if case in done]
    faults = failures(rows)
    is_whole = len(done) == len(cases) and len(cases) == len(CASES)
    if is_whole:
        TABLE.write_text(table(rows, faults))
    print(summary(rows, faults) if is_whole else table(rows, faults))
    return 1 if faults or len(done) < len(cases) else 0


def run_cases(missing: list[Case], code: str, jobs: int, done: dict[Case, dict[str, Any]]) -> None:
    """Fills `done`; Ctrl-C keeps what is finished."""
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
    try:
        waiting = {pool.submit(run_case, case, code): case for case in missing}
        for number, future in enumerate(as_completed(waiting), 1):
            case = waiting[future]
            done[case] = result = future.result()
            shares = f"share {result['share']:.0%}" if result["share"] is not None else "no share"
            print(f"[{number}/{len(missing)}] {case.name}: {shares}, {result['excursion_s']['plan']:g} s over", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print("interrupted: finished cases are kept", file=sys.stderr)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def run_case(case: Case, code: str) -> dict[str, Any]:
    """One week under every policy, in this process; the result is kept in the cache."""
    from ems.replay.bound import bound_of
    from ems.replay.runner import Run
    from ems.replay.scenario import load_scenario
    from ems.replay.world import build_world

    folder = CACHE / case.name
    folder.mkdir(exist_ok=True)
    scenario = folder / "scenario.yaml"
    scenario.write_text(scenario_text(case))
    world = build_world(load_scenario(scenario), case.seed)
    runs = {policy: Run(world, policy).execute(folder / policy, lambda done: None) for policy in POLICIES}
    for policy in POLICIES:
        for name in ("timeseries.parquet", "decisions.jsonl"):
            (folder / policy / name).unlink()
    bound = bound_of(world, lambda done: None)
    result = distilled(case, code, runs, bound, world.site.point_of_connection.import_limit_kw)
    (folder / "result.json").write_text(json.dumps(result))
    return result


def scenario_text(case: Case) -> str:
    """real-week with another window, seed, skip and limit."""
    start, end, begins = WEEKS[case.week]
    text = BASE.read_text()
    limit = float(text.split("import_limit_kw:")[1].split("}")[0])
    skipped = f"begins_at: 2024-08-16T05:00:00Z\n      skip_s: {case.skip_days * 86400}\n"
    changes = {
        "site: ../sites/demo-2mw.yaml": f"site: {CHECKOUT / 'config' / 'sites' / 'demo-2mw.yaml'}",
        f"import_limit_kw: {limit:g}": f"import_limit_kw: {limit * case.limit:g}",
        "start: 2024-08-19T05:00:00Z": f"start: {start}",
        "end: 2024-08-26T05:00:00Z": f"end: {end}",
        "control_step_s: 5": "control_step_s: 30",
        "seed: 7": f"seed: {case.seed}",
    }
    for old, new in changes.items():
        if old not in text:
            raise SystemExit(f"{BASE.name} no longer holds {old!r}")
        text = text.replace(old, new, 1)
    text = text.replace("begins_at: 2024-08-16T05:00:00Z\n", skipped, 1)
    return text.replace("2024-08-16T05:00:00Z", begins)


def distilled(case: Case, code: str, runs: dict[str, dict[str, Any]], bound: dict[str, Any], limit_kw: float) -> dict[str, Any]:
    """What the table needs."""
    total = {policy: run["cost"]["total"] for policy, run in runs.items()}
    possible = total["capped"] - bound["total"]
    return {
        "code": code,
        "limit_kw": limit_kw,
        "total": total | {"bound": bound["total"]},
        "share": (total["capped"] - total["plan"]) / possible if possible >= WORTH_A_SHARE * total["capped"] else None,
        "excursion_s": {p: r["limits"]["import_excursion_s"] for p, r in runs.items()},
        "longest_s": {p: r["limits"]["import_excursion_longest_s"] for p, r in runs.items()},
        "reserve_s": {p: r["limits"]["reserve_shortfall_s"] for p, r in runs.items()},
        "fallbacks": runs["plan"]["planner"]["fallbacks"],
    }


def failures(rows: list[tuple[Case, dict[str, Any]]]) -> list[str]:
    """Every requirement that a case does not meet."""
    found = []
    for case, r in rows:
        total = r["total"]
        if not total["plan"] < total["rules"] < total["capped"]:
            found.append(f"{case.name}: order plan < rules < capped does not hold")
        if min(total[p] for p in POLICIES) < total["bound"] - 1e-6 * abs(total["bound"]):
            found.append(f"{case.name}: a policy is cheaper than the bound")
        found += [f"{case.name}: {p} was {r['excursion_s'][p]:g} s over" for p in POLICIES if r["excursion_s"][p] > MOST_EXCURSION_S]
        found += [f"{case.name}: {p} was short of reserve for {r['reserve_s'][p]:g} s" for p in POLICIES if r["reserve_s"][p] > 0]
        if r["share"] is not None and r["share"] < LEAST_SHARE:
            found.append(f"{case.name}: share of the bound {r['share']:.0%}")
    return found


def table(rows: list[tuple[Case, dict[str, Any]]], faults: list[str]) -> str:
    """sweep.md."""
    head = "| week | seed | skip d | limit kW | capped | rules | plan | bound | share | s over: capped, rules, plan | reserve short s |"
    written = f"Written {datetime.date.today()} by `make sweep`, code {rows[0][1]['code'] if rows else 'none'}."
    lines = ["# Seeds, weeks and limits", "", summary(rows, faults), "", written, "", head, "|" + "---|" * 11]
    for case, r in rows:
        t = r["total"]
        share = "" if r["share"] is None else f"{100 * r['share']:.0f} %"
        over = ", ".join(f"{r['excursion_s'][p]:g}" for p in POLICIES)
        money = " | ".join(f"{t[p]:,.0f}" for p in (*POLICIES, "bound"))
        short = max(r["reserve_s"].values())
        lines.append(f"| {case.week} | {case.seed} | {case.skip_days} | {r['limit_kw']:.0f} | {money} | {share} | {over} | {short:g} |")
    return "\n".join(lines) + "\n"


def summary(rows: list[tuple[Case, dict[str, Any]]], faults: list[str]) -> str:
    """The verdict in a few lines."""
    shares = [r["share"] for _, r in rows if r["share"] is not None]
    if not shares:
        return "no case finished"
    words = [
        f"{len(rows)} weeks replayed at a 30-s control step, plant 5 s, totals in USD.",
        f"Share of the bound's saving: median {statistics.median(shares):.0%}, lowest {min(shares):.0%}, highest {max(shares):.0%}.",
        f"Most seconds over the limit in a week: {max(max(r['excursion_s'].values()) for _, r in rows):g}.",
        f"Requirements not met: {len(faults)}.",
    ]
    return "\n".join([" ".join(words), *(f"- {fault}" for fault in faults)])


def cached(case: Case, code: str | None) -> dict[str, Any] | None:
    """A kept result, unless it was made by other code."""
    try:
        kept = json.loads((CACHE / case.name / "result.json").read_text())
    except (FileNotFoundError, ValueError):
        return None
    return kept if code is None or kept["code"] == code else None


def code_hash() -> str:
    """A fingerprint of everything a result depends on, save the data."""
    digest = hashlib.sha256()
    for pattern in INPUTS:
        for path in sorted(CHECKOUT.glob(pattern)):
            if path.parts[len(CHECKOUT.parts) + 1] not in ("app", "office", "history", "journal"):
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def arguments() -> argparse.Namespace:
    """Fewer seeds, weeks or limits for a quick look."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seeds", type=lambda t: [int(x) for x in t.split(",")], default=list(SEEDS))
    parser.add_argument("--weeks", type=lambda t: t.split(","), default=list(WEEKS))
    parser.add_argument("--limits", type=lambda t: [float(x) for x in t.split(",")], default=list(LIMITS))
    parser.add_argument("--keep", action="store_true", help="use kept results of other code too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
