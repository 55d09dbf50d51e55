"""Two ways of planning for an uncertain load, in closed loop: a reserve for the upper quantile, and branches with a common first stage.

    python tests/benchmarks/uncertainty.py [--weeks february,april]     # writes uncertainty.md when every week was run

Both ways keep the reserve of the import limit (ems/plan/headroom.py). The branches (ems/plan/branches.py) add courses in which the load
follows an upper quantile all along, each with its own answer after the first hour, and count what they cost by their probability.
"""

from __future__ import annotations

import datetime
import statistics
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.closed_loop import WEEKS, Cadence, Case, result_of, share, weeks_asked

TABLE = Path(__file__).with_name("uncertainty.md")
CADENCE = Cadence(60, 600)
BRANCHES = ((0.25, 0.9), (0.05, 0.99))
WAYS: dict[str, tuple[tuple[float, float], ...]] = {"quantile reserve": (), "branches": BRANCHES}


def run_week(week: str) -> dict[str, dict[str, Any]]:
    """Every way and the yardsticks of one week."""
    rows = {name: result_of(Case(week, name, CADENCE), name) for name in ("capped", "bound")}
    for way, courses in WAYS.items():

        def prepare(run: Any, world: Any, courses: tuple[tuple[float, float], ...] = courses) -> None:
            run.planning.loop.courses = courses

        rows[way] = result_of(Case(week, way, CADENCE), "plan", prepare)
        print(line(week, way, rows), file=sys.stderr, flush=True)
    return rows


def line(week: str, way: str, rows: dict[str, dict[str, Any]]) -> str:
    """One row of the table."""
    r = rows[way]
    cost, over = r["cost"], f"{r['over_s']:g}, {r['reserve_s']:g}"
    money = " | ".join(f"{cost[k]:,.0f}" for k in ("energy", "demand", "workload", "wear"))
    part = f"{100 * share(r, rows['capped'], rows['bound']):.0f} %"
    return f"| {week} | {way} | {r['total']:,.0f} | {part} | {r['peak_kw']:,.0f} | {money} | {over} | {r['planner']['ms_p50']:.0f} |"


def table(results: dict[str, dict[str, dict[str, Any]]]) -> str:
    """uncertainty.md."""
    totals = {way: sum(rows[way]["total"] for rows in results.values()) for way in WAYS}
    middle = {way: statistics.median(share(r[way], r["capped"], r["bound"]) for r in results.values()) for way in WAYS}
    best = min(totals, key=lambda way: totals[way])
    head = "| week | way | total USD | share of the bound | peak kW | energy | demand | workload | wear | s over, s short | ms a plan |"
    said = "; ".join(f"{way}: {totals[way]:,.0f} USD in all, share {100 * middle[way]:.0f} % in the median" for way in WAYS)
    lines = [
        "# Planning for an uncertain load, two ways in closed loop",
        "",
        f"Written {datetime.date.today()} by `python tests/benchmarks/uncertainty.py`: {len(results)} development weeks, control every",
        f"{CADENCE.control_s} s, a plan every {CADENCE.plan_s} s, plant 5 s. {said}. Cheaper: {best}.",
        "",
        head,
        "|" + "---|" * 11,
    ]
    lines += [line(week, way, rows) for week, rows in results.items() for way in WAYS]
    bounds = ", ".join(f"{w} {r['capped']['total']:,.0f} and {r['bound']['total']:,.0f}" for w, r in results.items())
    return "\n".join([*lines, "", f"Capped and bound in USD: {bounds}.", ""])


def main() -> int:
    """Runs what is missing; writes the table of all weeks."""
    weeks = weeks_asked(__doc__, list(WEEKS))
    written = table({week: run_week(week) for week in weeks})
    if set(weeks) == set(WEEKS):
        TABLE.write_text(written)
    print(written)
    return 0


if __name__ == "__main__":
    sys.exit(main())
