"""Many site-days of seeded faults, counted: `make campaign DAYS=30 SEED=1`.

Every day is one trial (24 h at 1 s, one seed). Finished days are kept beside this file (.campaign/) until the code changes, so an
interrupted campaign goes on where it stopped. A day with violations is shrunk: faults are left out as long as the same invariant breaks.
The last line counts days, faults and violations; exit 1 when there are any. `--table` writes campaign.md.

    python tests/campaign/campaign.py --days 30 --seed 1 [--jobs 2] [--hours 24] [--planner hostile] [--table]
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import hashlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT))

from tests.campaign.faults import KINDS  # noqa: E402
from tests.campaign.trial import Outcome, Trial, run_trial, trial_of  # noqa: E402

CACHE = Path(__file__).with_name(".campaign")
TABLE = Path(__file__).with_name("campaign.md")
CODE = ("ems/**/*.py", "adapters/**/*.py", "simulators/**/*.py", "tests/campaign/*.py")
INPUTS = (*CODE, "config/sites/demo-2mw.yaml", "config/devices/*.yaml")
SHRINK_TRIALS = 24


def main(argv: Sequence[str]) -> int:
    """Runs what is missing and prints one line per day."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--days", type=int, default=30)
    ask.add_argument("--seed", type=int, default=1)
    ask.add_argument("--hours", type=int, default=24)
    ask.add_argument("--jobs", type=int, default=2)
    ask.add_argument("--planner", default="", choices=["", "honest", "hostile", "none"])
    ask.add_argument("--table", action="store_true")
    ask.add_argument("--no-shrink", action="store_true")
    given = ask.parse_args(argv)
    if given.days < 1 or given.hours < 1 or given.jobs < 1 or given.seed < 0:
        print("days, hours and jobs must be at least 1, the seed at least 0", file=sys.stderr)
        return 2
    rows = run_days(range(given.seed, given.seed + given.days), given.hours, given.planner, given.jobs)
    if not given.no_shrink:
        for row in rows:
            if row["violations"]:
                print(shrunk(row["seed"], given.hours, given.planner), flush=True)
    if given.table:
        TABLE.write_text(table(rows, given.hours, commit()))
    print(last_line(rows, given.hours))
    return 1 if any(row["violations"] for row in rows) else 0


def run_days(seeds: Sequence[int], hours: int, planner: str, jobs: int) -> list[dict[str, Any]]:
    """One row per seed, in their order; finished ones come from the cache."""
    code = fingerprint()
    known = {seed: row for seed in seeds if (row := _read(code, seed, hours, planner)) is not None}
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(run_day, seed, hours, planner): seed for seed in seeds if seed not in known}
        try:
            for done in as_completed(running):
                seed = running[done]
                known[seed] = done.result()
                _write(code, seed, hours, planner, known[seed])
                print(line(known[seed], hours), flush=True)
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [known[seed] for seed in seeds]


def run_day(seed: int, hours: int, planner: str) -> dict[str, Any]:
    """One day as plain data."""
    return encode(run_trial(trial_of(seed, hours * 3600, planner)))


def encode(outcome: Outcome) -> dict[str, Any]:
    """The outcome as plain data."""
    return dataclasses.asdict(outcome)


def shrunk(seed: int, hours: int, planner: str) -> str:
    """The smallest list of faults found that still breaks the first invariant of a seed, as one line of JSON."""
    trial = trial_of(seed, hours * 3600, planner)
    first = run_trial(trial).violations[0]
    trial = Trial(trial.setting, min(trial.seconds, int(first.at_s) + 120), tuple(f for f in trial.faults if f.at_s <= first.at_s + 60.0))
    without: list[int] = []
    size = max(1, len(trial.faults) // 2)
    for _ in range(SHRINK_TRIALS):
        left = [k for k in range(len(trial.faults)) if k not in without]
        for begin in range(0, len(left), size):
            part = left[begin : begin + size]
            if any(v.invariant == first.invariant for v in run_trial(trial, [*without, *part]).violations):
                without += part
                break
        else:
            if size == 1:
                break
            size = max(1, size // 2)
    kept = [dataclasses.asdict(f) for k, f in enumerate(trial.faults) if k not in without]
    return json.dumps({"seed": seed, "violation": dataclasses.asdict(first), "setting": _plain(trial), "faults": kept})


def _plain(trial: Trial) -> dict[str, Any]:
    return {**dataclasses.asdict(trial.setting), "seconds": trial.seconds}


def line(row: dict[str, Any], hours: int) -> str:
    """One day for the terminal."""
    tally = row["tally"]
    text = (
        f"seed {row['seed']}: {hours} h, {row['faults']} faults, {tally['import_excursion_s']} s over "
        f"(longest {tally['import_longest_s']} s), {tally['infeasible']} infeasible, {len(row['violations'])} violations, "
        f"{row['seconds'] / row['wall_s']:.0f} x real time"
    )
    found = [f"    {v['invariant']} at {v['at_s']:.0f} s: {v['detail']}" for v in row["violations"]]
    return "\n".join([text, *found])


def last_line(rows: Sequence[dict[str, Any]], hours: int) -> str:
    """Days, faults and violations of all rows."""
    days = sum(row["seconds"] for row in rows) / 86400.0
    return f"{days:.1f} site-days, {sum(r['faults'] for r in rows)} faults, {sum(len(r['violations']) for r in rows)} violations"


def table(rows: Sequence[dict[str, Any]], hours: int, at: str) -> str:
    """The campaign as a page: what was run, at which commit, and what came of it."""
    kinds: Counter[str] = Counter()
    for row in rows:
        kinds.update(row["kinds"])
    head = [
        "# The campaign",
        "",
        f"`make campaign DAYS={len(rows)} SEED={rows[0]['seed']}`, commit {at}, written {datetime.datetime.now(datetime.UTC):%Y-%m-%d}.",
        f"{last_line(rows, hours)}.",
        "",
        "Zero failures in N independent site-days mean, with 95 % confidence, fewer than about 3/N per site-day *under this mix of",
        "simulated faults on this simulated site*. It is not a rate of the field.",
        "",
        "| seed | faults | s over the limit | longest | export s | infeasible | violations | x real time | journal |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    body = [
        f"| {r['seed']} | {r['faults']} | {r['tally']['import_excursion_s']} | {r['tally']['import_longest_s']} | "
        f"{r['tally']['export_excursion_s']} | {r['tally']['infeasible']} | {len(r['violations'])} | {r['seconds'] / r['wall_s']:.0f} | "
        f"`{r['journal_hash'][:12]}` |"
        for r in rows
    ]
    found = [f"- seed {r['seed']}: {v['invariant']} at {v['at_s']:.0f} s: {v['detail']}" for r in rows for v in r["violations"]]
    faults = ["", "| fault | kind | times |", "|---|---|---|"]
    faults += [f"| {KINDS[k].number} | {k} | {n} |" for k, n in sorted(kinds.items(), key=lambda row: (KINDS[row[0]].number, row[0]))]
    return "\n".join([*head, *body, "", *(["Violations:", "", *found] if found else []), *faults, ""])


def commit() -> str:
    """The commit that is checked out, and whether the files differ from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=CHECKOUT, capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--", "ems", "adapters", "simulators", "config", "tests/campaign")
    return git("rev-parse", "--short", "HEAD") + (" (changed)" if changed else "")


def fingerprint() -> str:
    """A hash of everything a day depends on."""
    digest = hashlib.sha256()
    for pattern in INPUTS:
        for path in sorted(CHECKOUT.glob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _read(code: str, seed: int, hours: int, planner: str) -> dict[str, Any] | None:
    path = _path(code, seed, hours, planner)
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found


def _write(code: str, seed: int, hours: int, planner: str, row: dict[str, Any]) -> None:
    path = _path(code, seed, hours, planner)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps(row))
    draft.replace(path)


def _path(code: str, seed: int, hours: int, planner: str) -> Path:
    return CACHE / code / f"{seed}-{hours}-{planner or 'any'}.json"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
