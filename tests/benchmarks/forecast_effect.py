"""What a better load forecast is worth to the plan: the same weeks planned with each forecaster, and with the load known.

    python tests/benchmarks/forecast_effect.py [--weeks april,real-week]     # writes forecast-effect.md

Two rankings are printed: by forecast score (pinball loss of the median and of q90, at 10 min, 1 h and 24 h) and by what the weeks cost in
closed loop. The default of `ems.forecast.served` is the one with the best closed-loop cost in the development weeks; the named weeks show
whether that holds where nothing was chosen.
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.closed_loop import NAMED, Cadence, Case, result_of, share, weeks_asked

TABLE = Path(__file__).with_name("forecast-effect.md")
CADENCE = Cadence(60, 600)
USUAL_WEEKS = ("april", "february", *NAMED)
FORECASTERS = ("online", "day-ago", "persistence", "linear", "ensemble", "trees")
KNOWN = "load known"  # its forecasts are the truth; prices and peaks are forecast as ever


def run_week(week: str) -> dict[str, dict[str, Any]]:
    """Every forecaster and the yardsticks of one week."""
    rows = {name: result_of(Case(week, name, CADENCE), name) for name in ("capped", "bound")}
    for name in (*FORECASTERS, KNOWN):

        def prepare(run: Any, world: Any, name: str = name) -> None:
            serve(run.planning, world, name)

        rows[name] = result_of(Case(week, name, CADENCE), "plan", prepare)
        print(week, name, f"{rows[name]['total']:,.0f} USD", file=sys.stderr, flush=True)
    return rows


def serve(planning: Any, world: Any, name: str) -> None:
    """Puts another load source into a replay's plan loop, taught with the history."""
    from ems.forecast.served import load_source
    from ems.replay.future import TrueLoad, true_loads
    from ems.replay.planning import history_frames

    if name == KNOWN:
        planning.loop.loads = {cluster: TrueLoad(series) for cluster, series in true_loads(world).items()}
        return
    sources = {c.id: load_source(c.rating_kw, c.idle_kw, name) for c in world.site.clusters}
    for frame in history_frames(world):
        for cluster, source in sources.items():
            source.observe(frame.start, 60.0, frame.demand_kw.get(cluster))
    planning.loop.loads = dict(sources)


def score(results: dict[str, dict[str, dict[str, Any]]], name: str) -> float:
    """Mean over weeks, leads and two levels of the pinball loss in kW."""
    leads = [rows[name]["forecast"][lead] for rows in results.values() for lead in ("10min", "1h", "24h")]
    return sum(lead["pinball_q50"] + lead["pinball_q90"] for lead in leads) / (2 * len(leads))


Weeks = dict[str, dict[str, dict[str, Any]]]  # rows by forecaster, by week


def table(results: Weeks) -> str:
    """forecast-effect.md; forecasters that a week has no row of are left out there, and of the rankings over it."""
    chosen_on = {week: rows for week, rows in results.items() if week not in NAMED}
    lines = [
        "# What the load forecast is worth to the plan",
        "",
        f"Written {datetime.date.today()} by `python tests/benchmarks/forecast_effect.py`: control every {CADENCE.control_s} s,",
        f"a plan every {CADENCE.plan_s} s, plant 5 s. The default is chosen on the development weeks ({', '.join(chosen_on)});",
        "nothing is chosen on the named ones. Score: mean pinball loss in kW of the median and of q90, 10 min, 1 h and 24 h ahead.",
        "",
        *rankings("development weeks", chosen_on),
        *rankings("all weeks", results),
        "",
        "| week | forecaster | cost USD | share of the bound | mean pinball kW | peak kW | workload USD | s over, s short |",
        "|" + "---|" * 8,
    ]
    lines += [row(week, name, rows) for week, rows in results.items() for name in sorted(names([rows]), key=lambda n: rows[n]["total"])]
    bounds = ", ".join(f"{w} {r['capped']['total']:,.0f} and {r['bound']['total']:,.0f}" for w, r in results.items())
    return "\n".join([*lines, "", f"Capped and bound in USD: {bounds}.", ""])


def names(weeks: Iterable[Mapping[str, Any]]) -> list[str]:
    """Every forecaster that all these weeks have a row of, and the load known."""
    weeks = list(weeks)
    return [name for name in (*FORECASTERS, KNOWN) if all(name in rows for rows in weeks)]


def rankings(weeks: str, results: Weeks) -> list[str]:
    """Both rankings over some weeks, empty without any."""
    if not results:
        return []
    cost = {name: sum(rows[name]["total"] for rows in results.values()) for name in names(results.values())}
    scores = {name: score(results, name) for name in cost}
    by_cost = ", ".join(f"{name} {cost[name]:,.0f}" for name in sorted(cost, key=lambda n: cost[n]))
    by_score = ", ".join(f"{name} {scores[name]:.2f}" for name in sorted(scores, key=lambda n: scores[n]))
    return [f"- {weeks}, by closed-loop cost in USD: {by_cost}.", f"- {weeks}, by forecast score in kW: {by_score}."]


def row(week: str, name: str, rows: dict[str, dict[str, Any]]) -> str:
    """One line of the table."""
    r = rows[name]
    part, over = f"{100 * share(r, rows['capped'], rows['bound']):.0f} %", f"{r['over_s']:g}, {r['reserve_s']:g}"
    pinball = score({week: rows}, name)
    return f"| {week} | {name} | {r['total']:,.0f} | {part} | {pinball:.2f} | {r['peak_kw']:,.0f} | {r['cost']['workload']:,.0f} | {over} |"


def main() -> int:
    """Runs what is missing; writes the table of the weeks asked for."""
    written = table({week: run_week(week) for week in weeks_asked(__doc__, USUAL_WEEKS)})
    TABLE.write_text(written)
    print(written)
    return 0


if __name__ == "__main__":
    sys.exit(main())
