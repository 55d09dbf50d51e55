"""results-battery.md: shares of perfect foresight per market and month, and against each goal what was reached."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

GOALS = {"ercot-start": 0.78, "ercot-end": 0.76, "nem-start": 0.70, "nem-end": 0.62}
BEST_DAYS = 10
WORSE_EVERY = 3
HEAD = """# How good: a battery alone

1 MW, 2 MWh, 88 % round trip, no wear price unless said, on ERCOT's real-time market 2024 with day-ahead prices known the day before, and
on Victoria's, December 2024 to May 2025, without any. Shares are of perfect foresight over the same month with the plant's own ratings,
which are 10 % off the file the plan believes (months marked * worse in everything). "start" and "end": when the price of an interval is
known. The programme is a dozen lines of dynamic programming on day-ahead prices (Victoria: the mean day of a week) that knows the plant's
ratings. Settings were chosen on February, March, April and June 2024 and on December and January: the other months are tests."""


def section(wanted: Sequence[Any], found: Mapping[Any, Mapping[str, Any]], code: str) -> str:
    """The page; a month not yet run, or made by other code, is said to be so."""
    other = sum(r["code"] != code for r in found.values())
    made = f"{len(found)} of {len(wanted)} months run, {other} of them by an earlier state of the code. Written {datetime.date.today()}."
    groups = list(dict.fromkeys(month.group for month in wanted))
    lines = [HEAD, "", made, "", "| market, price known | months | asked | plan | without the ten best days | programme | met |"]
    lines.append("|" + "---|" * 7)
    for group in groups:
        results = [r for month, r in found.items() if month.group == group]
        if results:
            lines.append(group_line(group, results, sum(m.group == group for m in wanted)))
    lines += ["", "| month | seed | plan | bound | share | programme | plans failed | s over a limit |", "|" + "---|" * 8]
    lines += [month_line(month, r) for month, r in found.items()]
    return "\n".join(lines) + "\n"


def group_line(group: str, results: Sequence[Mapping[str, Any]], whole: int) -> str:
    """All months of a market together."""
    plan, bound = (np.concatenate([r[key] for r in results]) for key in ("plan", "bound"))
    rest = np.argsort(bound)[:-BEST_DAYS]
    share, goal = plan.sum() / bound.sum(), GOALS.get(group)
    met = "" if goal is None else "yes" if share >= goal and len(results) == whole else "NO" if share < goal else "so far"
    without = plan[rest].sum() / bound[rest].sum()
    programme = sum(r["programme"] for r in results) / bound.sum()
    asked = "" if goal is None else f"{goal:.0%}"
    return row([group, f"{len(results)} of {whole}", asked, f"{share:.1%}", f"{without:.1%}", f"{programme:.1%}", met])


def month_line(month: Any, r: Mapping[str, Any]) -> str:
    """One month."""
    plan, bound = sum(r["plan"]), sum(r["bound"])
    seed = f"{month.seed}{'*' if month.seed % WORSE_EVERY == 0 else ''}"
    over = r["limits"]["import_excursion_s"]
    failed = str(r["planner"]["fallbacks"])
    return row(
        [month.name, seed, f"{plan:,.0f}", f"{bound:,.0f}", f"{plan / bound:.1%}", f"{r['programme'] / bound:.1%}", failed, f"{over:g}"]
    )


def row(cells: Iterable[str]) -> str:
    """A line of a table."""
    return f"| {' | '.join(cells)} |"
