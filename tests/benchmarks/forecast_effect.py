"""What a better load forecast is worth to the plan: the same weeks planned with each forecaster, and with the load known.

    python tests/benchmarks/forecast_effect.py [--weeks april,february]     # writes forecast-effect.md

Two rankings are printed: by forecast score (pinball loss of the median and of q90, at 10 min, 1 h and 24 h, over the mean load) and by what
the weeks cost in closed loop. The default of `ems.forecast.served` is the one with the best closed-loop cost.
"""

from __future__ import annotations

import argparse
import datetime
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.closed_loop import CHECKOUT, WEEKS, Cadence, Case, result_of, share

TABLE = Path(__file__).with_name("forecast-effect.md")
CADENCE = Cadence(120, 900)
DEFAULT_WEEKS = ("april", "february")
FORECASTERS = ("online", "ensemble", "day-ago", "persistence")
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


def table(results: dict[str, dict[str, dict[str, Any]]]) -> str:
    """forecast-effect.md."""
    names = (*FORECASTERS, KNOWN)
    cost = {name: sum(rows[name]["total"] for rows in results.values()) for name in names}
    scores = {name: score(results, name) for name in names}
    by_cost, by_score = sorted(names, key=lambda n: cost[n]), sorted(names, key=lambda n: scores[n])
    lines = [
        "# What the load forecast is worth to the plan",
        "",
        f"Written {datetime.date.today()} by `python tests/benchmarks/forecast_effect.py`: development weeks {', '.join(results)}, control",
        f"every {CADENCE.control_s} s, a plan every {CADENCE.plan_s} s, plant 5 s.",
        "",
        f"Ranking by closed-loop cost: {', '.join(by_cost)}.",
        f"Ranking by forecast score: {', '.join(by_score)}.",
        "",
        "| forecaster | cost USD, all weeks | mean pinball kW | share per week | peak kW | workload USD | s over, s short |",
        "|" + "---|" * 7,
    ]
    for name in by_cost:
        rows = [r[name] for r in results.values()]
        shares = ", ".join(f"{100 * share(r[name], r['capped'], r['bound']):.0f} %" for r in results.values())
        peaks, work = (", ".join(f"{v:,.0f}" for v in row) for row in ([r["peak_kw"] for r in rows], [r["cost"]["workload"] for r in rows]))
        over = f"{sum(r['over_s'] for r in rows):g}, {sum(r['reserve_s'] for r in rows):g}"
        lines.append(f"| {name} | {cost[name]:,.0f} | {scores[name]:.2f} | {shares} | {peaks} | {work} | {over} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Runs what is missing; writes the table of the weeks asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--weeks", type=lambda text: text.split(","), default=list(DEFAULT_WEEKS))
    args = parser.parse_args()
    os.environ.setdefault("EMS_DATA_DIR", str(CHECKOUT.parent / "shared" / "data"))
    if not Path(os.environ["EMS_DATA_DIR"]).is_dir() or set(args.weeks) - set(WEEKS):
        print(f"expected the real data in EMS_DATA_DIR, and weeks of {', '.join(WEEKS)}", file=sys.stderr)
        return 2
    written = table({week: run_week(week) for week in args.weeks})
    TABLE.write_text(written)
    print(written)
    return 0


if __name__ == "__main__":
    sys.exit(main())
