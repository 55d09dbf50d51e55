"""300 random grid events in closed loop: are they accepted, held at the meter, and given back? `make events`, an hour or two on a core.

Each seed (tests/campaign/events_cases.py) is replayed at 5-s control with the product's controller, planner, desk and settlement on the
simulated site; the meter's truth judges it (events_judge.py), a linear program that knows the future says whether it could be held at all
(events_oracle.py). Finished seeds are kept beside this file (.events/), so that an interrupted run goes on where it stopped; those of other
code are run again unless --keep. The table is events.md, goals that are missed included.

    python -m tests.campaign.events [--only 301-320] [--keep] [--table]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from tests.campaign.events_cases import SEEDS, case
from tests.campaign.events_judge import judge
from tests.campaign.events_oracle import is_feasible
from tests.campaign.events_run import run_case, site_of
from tests.campaign.events_table import summary_line, table

CHECKOUT = Path(__file__).resolve().parents[2]
CACHE = Path(__file__).with_name(".events")
TABLE = Path(__file__).with_name("events.md")
INPUTS = ("ems/**/*.py", "simulators/**/*.py", "config/sites/*.yaml", "tests/campaign/events_*.py", "tests/campaign/programs/*.yaml")
UNUSED = ("app", "journal")


def main() -> int:
    """Runs what is missing, one seed after another, and writes the table."""
    args = arguments()
    CACHE.mkdir(exist_ok=True)
    (CACHE / ".gitignore").write_text("*\n")
    code = code_hash()
    for seed in args.only:
        if not args.table and kept(seed, None if args.keep else code) is None:
            row = run_seed(seed, code)
            (CACHE / f"{seed}.json").write_text(json.dumps(row))
            print(summary_line(row), file=sys.stderr, flush=True)
    found = [row for seed in args.only if (row := kept(seed, None)) is not None]
    text = table(found, len(args.only))
    if tuple(args.only) == tuple(SEEDS):
        TABLE.write_text(text)
    print(text)
    return 0


def run_seed(seed: int, code: str) -> dict[str, Any]:
    """One seed: what was accepted, how it was held, whether it could be."""
    begun = time.process_time()
    drawn = case(seed)
    outcome = run_case(drawn)
    ran_s = time.process_time() - begun
    events = [
        {
            "event": e.event,
            "opts": e.opts,
            "is_derated": e.is_derated,
            "is_compliant": e.is_compliant,
            "worst": e.worst,
            "owed_kwh": sum(i.owed_kwh for i in e.intervals),
            "delivered_kwh": sum(min(i.owed_kwh, max(0.0, i.delivered_kwh)) for i in e.intervals),
            "baseline_kw": e.baseline_kw,
            "rebound_kw": e.rebound_kw,
            "why": e.why,
        }
        for e in judge(drawn, outcome)
    ]
    first = drawn.calls[0]
    return {
        "code": code,
        "seed": seed,
        "site": drawn.site,
        "story": drawn.story,
        "program": first.program,
        "fault": f"{drawn.fault.group} {drawn.fault.kind}",
        "events": events,
        "is_feasible": is_feasible(drawn, outcome, site_of(drawn.site)),
        "reserve_breach_s": outcome.reserve_breach_s,
        "fallbacks": outcome.fallbacks,
        "cpu_s": round(time.process_time() - begun, 1),
        "run_s": round(ran_s, 1),
    }


def kept(seed: int, code: str | None) -> dict[str, Any] | None:
    """A kept row, unless it was made by other code."""
    try:
        row: dict[str, Any] = json.loads((CACHE / f"{seed}.json").read_text())
    except (FileNotFoundError, ValueError):
        return None
    return row if code is None or row["code"] == code else None


def code_hash() -> str:
    """A fingerprint of everything a row depends on."""
    digest = hashlib.sha256()
    for pattern in INPUTS:
        for path in sorted(CHECKOUT.glob(pattern)):
            if path.relative_to(CHECKOUT).parts[1] not in UNUSED and path.name != "events_table.py":
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def seeds_of(text: str) -> list[int]:
    """Seeds from text such as 1-20,33."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def arguments() -> argparse.Namespace:
    """Fewer seeds for a quick look."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", type=seeds_of, default=list(SEEDS))
    parser.add_argument("--keep", action="store_true", help="use kept rows of other code too")
    parser.add_argument("--table", action="store_true", help="run nothing, write the table from what is kept")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
