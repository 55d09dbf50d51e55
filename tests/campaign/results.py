"""How good it is: the named scenarios under several seeds and weeks, every plant 10 % off its file. `make results`, hours on two cores.

Each case replays at a 30- to 60-s control step where it lasts days, 5 s where a fault is the matter, 300 s over a summer; the plant always
at 5 s. Finished cases are kept beside this file (.results/), so that an interrupted run goes on where it stopped; those of other code are
run again unless --keep. The table is results.md, goals that are missed included.

    python tests/campaign/results.py [--only demand-charge,four-cp] [--keep] [--table]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from tests.campaign.results_cases import CHECKOUT, Case, cases, scenario_text
from tests.campaign.results_table import table
from tests.campaign.watch import Watch

CACHE = Path(__file__).with_name(".results")
TABLE = Path(__file__).with_name("results.md")
INPUTS = ("ems/**/*.py", "simulators/**/*.py", "config/sites/*.yaml", "config/tariffs/*.yaml", "config/scenarios/*.yaml")
NOT_REPLAYED = ("app", "office", "history", "journal", "program")


def main() -> int:
    """Runs what is missing, one case after another, and writes the table."""
    args = arguments()
    os.environ.setdefault("EMS_DATA_DIR", str(CHECKOUT.parent / "shared" / "data"))
    if not Path(os.environ["EMS_DATA_DIR"]).is_dir():
        print("the results need the real data: set EMS_DATA_DIR", file=sys.stderr)
        return 2
    CACHE.mkdir(exist_ok=True)
    (CACHE / ".gitignore").write_text("*\n")
    code = code_hash()
    wanted = [case for case in cases() if not args.only or case.scenario in args.only]
    for case in wanted:
        if not args.table and kept(case, None if args.keep else code) is None:
            begun = time.perf_counter()
            run_case(case, code)
            print(f"{case.name}: {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
    found = {case: result for case in cases() if (result := kept(case, None)) is not None}
    TABLE.write_text(table(cases(), found, code))
    print(TABLE.read_text())
    return 0


def run_case(case: Case, code: str) -> None:
    """Every policy of one case and its bound, in this process; the result is kept in the cache."""
    from ems.replay.bound import bound_of
    from ems.replay.runner import Run
    from ems.replay.scenario import load_scenario
    from ems.replay.world import build_world

    folder = CACHE / case.name
    folder.mkdir(exist_ok=True)
    text = scenario_text(case)
    result: dict[str, Any] = {"code": code, "policies": {}, "watched": {}}
    for policy in case.policies:
        (folder / "scenario.yaml").write_text(text)
        run = Run(build_world(load_scenario(folder / "scenario.yaml"), case.seed), policy)
        watch = Watch(run)
        summary = run.execute(folder / policy, lambda done: None)
        result["policies"][policy] = {key: summary[key] for key in ("cost", "peak", "limits", "service", "planner", "control")}
        result["policies"][policy]["generation"] = summary.get("generation", {})
        result["watched"][policy] = watch.found(folder / policy)
        shutil.rmtree(folder / policy)
        if case.scenario == "tight-limit" and policy == "none":
            limit_kw = 0.8 * summary["peak"]["import_kw"]
            result["limit_kw"] = limit_kw
            text = tightened(text, limit_kw)
    if case.bound:
        bound = bound_of(build_world(load_scenario(folder / "scenario.yaml"), case.seed), lambda done: None)
        result["bound"] = {key: bound[key] for key in ("total", "cost", "solved", "why")}
    (folder / "result.json").write_text(json.dumps(result))


def tightened(text: str, limit_kw: float) -> str:
    """The scenario with another import limit."""
    head, rest = text.split("import_limit_kw: ", 1)
    return f"{head}import_limit_kw: {limit_kw:.0f}}}{rest[rest.index('}') + 1 :]}"


def kept(case: Case, code: str | None) -> dict[str, Any] | None:
    """A kept result, unless it was made by other code."""
    try:
        result: dict[str, Any] = json.loads((CACHE / case.name / "result.json").read_text())
    except (FileNotFoundError, ValueError):
        return None
    return result if code is None or result["code"] == code else None


def code_hash() -> str:
    """A fingerprint of everything a result depends on, save the data."""
    digest = hashlib.sha256()
    for pattern in INPUTS:
        for path in sorted(CHECKOUT.glob(pattern)):
            if path.parts[len(CHECKOUT.parts) + 1] not in NOT_REPLAYED:
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def arguments() -> argparse.Namespace:
    """Fewer scenarios for a quick look."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", type=lambda t: t.split(","), default=[])
    parser.add_argument("--keep", action="store_true", help="use kept results of other code too")
    parser.add_argument("--table", action="store_true", help="run nothing, write the table from what is kept")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
