"""results.md: every case with its figures, and against each goal what was reached."""

from __future__ import annotations

import datetime
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from ems.replay.compare import share_of_bound
from tests.campaign.results_cases import Case

Found = Mapping[Case, Mapping[str, Any]]
SHARE_GOALS = {"real-week": 0.75, "real-week-dull": 0.60, "demand-charge": 0.75, "demand-charge-storage": 0.50}
MOST_DISPATCH_DAYS = 25
MOST_PENALTY = 1.15  # of the oracle's
WORSE_EVERY = 3
HEAD = """# How good

Every plant is 10 % off its site file in capacity, efficiency, COP, lag and idle share, signs drawn by the seed; seeds divisible by three
(marked *) are worse in all five (`ems/replay/mismatch.py`). The UPS keeps 12 % more of its charge than its reserve asks for (`soc_error`),
since a store 10 % smaller and less efficient than its file would else come short of it. Control steps of 30 s over weeks, 5 s in the fault
scenarios, 300 s over the summer; the plant steps 5 s. Money in USD. "energy / demand / workload" is plan less capped. The weeks of
demand-charge are run under two draws of the plant each: one alone moves by a hundred dollars with it.
A battery alone on two markets: [results-battery.md](results-battery.md)."""


def table(wanted: Sequence[Case], found: Found, code: str) -> str:
    """The whole page; a case not yet run, or made by other code, is said to be so."""
    other = sum(result["code"] != code for result in found.values())
    made = f"{len(found)} of {len(wanted)} cases run, {other} of them by an earlier state of the code."
    made += f" Written {datetime.date.today()} by `make results`."
    parts = [HEAD, "", made, "", *goals(found), ""]
    for title, rows in (("Shares of the bound's saving", shares), ("Limits, faults and orders", holds), ("Coincident peaks", peaks)):
        parts += [f"## {title}", "", *rows(found), ""]
    return "\n".join(parts).rstrip() + "\n"


def goals(found: Found) -> list[str]:
    """One line per goal."""
    lines = ["| goal | asked | reached | met |", "|---|---|---|---|"]
    for name, goal in SHARE_GOALS.items():
        got = [s for case, r in found.items() if case.scenario == name and (s := share(r)) is not None]
        if got:
            median, least = statistics.median(got), min(got)
            met = median >= goal and least >= 0.0
            text = f"median {median:.2%}, least {least:.0%} of {len(got)}"
            lines.append(row(f"{name}: median share, none negative", f"{goal:.0%}", text, met))
    over = [most(r, "import_excursion_s") for r in found.values()]
    short = [most(r, "reserve_shortfall_s") for r in found.values()]
    if found:
        names = {n for r in found.values() for n, p in r["policies"].items() if n != "none" and p["limits"]["import_excursion_s"] > 0.0}
        text = f"{max(over):g}" + (f" ({', '.join(sorted(names))})" if names else "")
        lines.append(row("most seconds over the import limit, every case and policy but none", "0", text, max(over) == 0.0))
        lines.append(row("seconds short of reserve, likewise", "0", f"{max(short):g}", max(short) == 0.0))
        outside = {c.name: most(r, "soc_breach_kwh") for c, r in found.items()}
        worst = max(outside, key=lambda name: outside[name])
        text = f"{outside[worst]:.1f}" + (f" ({worst})" if outside[worst] > 0.0 else "")
        lines.append(row("kWh moved outside the state-of-charge window of a store, likewise", "0", text, outside[worst] == 0.0))
    ratios = [penalty(r) for case, r in found.items() if case.scenario == "tight-limit"]
    if ratios:
        median = statistics.median(ratios)
        text = f"median {median:.2f}, worst {max(ratios):.2f} of {len(ratios)}"
        lines.append(row("tight-limit: workload penalty over the oracle's", f"{MOST_PENALTY:g}", text, max(ratios) <= MOST_PENALTY))
    lines += fault_goals(found) + peak_goals(found)
    return lines


def fault_goals(found: Found) -> list[str]:
    """Thermal breaches, the order of shedding, emergency machines."""
    hit = [r for case, r in found.items() if case.scenario in ("chiller-trip", "feed-loss")]
    lines = []
    if hit:
        breach = max(most(r, "thermal_breach_s") for r in hit)
        wrong = max(r["watched"]["plan"]["out_of_order_s"] for r in hit)
        lines.append(row(f"chiller trip, feed loss: seconds of thermal breach ({len(hit)} runs)", "0", f"{breach:g}", breach == 0.0))
        lines.append(row("chiller trip, feed loss: seconds of shedding out of tier order", "0", f"{wrong:g}", wrong == 0.0))
    scarce = [r for case, r in found.items() if case.scenario == "scarcity-week"]
    if scarce:
        kwh = max(emergency_kwh(r) for r in scarce)
        lines.append(row(f"scarcity-week: kWh from emergency generators ({len(scarce)} runs)", "0", f"{kwh:g}", kwh == 0.0))
    return lines


def peak_goals(found: Found) -> list[str]:
    """Coincident peaks and dispatch days."""
    met = [r["watched"]["plan"] for case, r in found.items() if case.scenario == "four-cp"]
    if not met:
        return []
    good = sum(w["hits"] == 4 and w["dispatch_days"] <= MOST_DISPATCH_DAYS for w in met)
    hits, days = (", ".join(str(w[key]) for w in met) for key in ("hits", "dispatch_days"))
    text = f"{good} of {len(met)} summers; hits {hits}; days {days}"
    return [row("four-cp: 4 of 4 intervals on at most 25 dispatch days", "every summer", text, good == len(met))]


def head(columns: str) -> list[str]:
    """The first two lines of a table; words of a column are joined by underscores."""
    names = [name.replace("_", " ") for name in columns.split()]
    return [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]


def row(what: str, asked: str, reached: str, is_met: bool) -> str:
    """A line of the table of goals."""
    return f"| {what} | {asked} | {reached} | {'yes' if is_met else 'NO'} |"


def shares(found: Found) -> list[str]:
    """Every week with a bound."""
    lines = head("scenario week seed skip_d capped plan bound share energy_/_demand_/_workload s_over reserve_short_s fallbacks")
    for case, r in found.items():
        if case.scenario not in SHARE_GOALS:
            continue
        capped, plan = r["policies"]["capped"]["cost"], r["policies"]["plan"]["cost"]
        got = share(r)
        parts = " / ".join(f"{plan[k] - capped[k]:+,.0f}" for k in ("energy", "demand", "workload"))
        money = [f"{capped['total']:,.0f}", f"{plan['total']:,.0f}", "" if r["bound"]["total"] is None else f"{r['bound']['total']:,.0f}"]
        limits = [f"{most(r, key):g}" for key in ("import_excursion_s", "reserve_shortfall_s")]
        cells = [case.scenario, case.week, seed(case), str(case.skip_days), *money, "" if got is None else f"{got:.0%}", parts, *limits]
        lines.append(f"| {' | '.join(cells)} | {r['policies']['plan']['planner']['fallbacks']} |")
    return lines


def holds(found: Found) -> list[str]:
    """The scenarios whose matter is a limit."""
    lines = [
        "| scenario | week | seed | s over | reserve short s | thermal breach s | warmest supply C | cut s | out of order s | remarks |"
    ]
    lines.append("|" + "---|" * 10)
    for case, r in found.items():
        if case.scenario in SHARE_GOALS or case.scenario == "four-cp":
            continue
        w = r["watched"]["plan"]
        warm = f"{w['warmest_c']:.1f} of {w['allowed_c']:g}" if "warmest_c" in w else ""
        thermal = "" if r["policies"]["plan"]["limits"]["thermal_breach_s"] is None else f"{most(r, 'thermal_breach_s'):g}"
        limits = [f"{most(r, key):g}" for key in ("import_excursion_s", "reserve_shortfall_s")]
        cells = [
            case.scenario,
            case.week,
            seed(case),
            *limits,
            thermal,
            warm,
            f"{w['cut_s']:,.0f}",
            f"{w['out_of_order_s']:g}",
            remark(case, r),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def remark(case: Case, r: Mapping[str, Any]) -> str:
    """What the scenario is about, in a few figures."""
    policies = r["policies"]
    if case.scenario == "tight-limit":
        money = [policies[p]["cost"]["workload"] for p in ("plan", "oracle")]
        return f"limit {r['limit_kw']:,.0f} kW; penalty {money[0]:,.0f}, oracle {money[1]:,.0f}: x {penalty(r):.2f}"
    if case.scenario == "scarcity-week":
        return f"{emergency_kwh(r):g} kWh from emergency machines; total {policies['plan']['cost']['total']:,.0f}"
    return f"least IT {r['watched']['plan']['least_it_kw']:,.0f} kW"


def peaks(found: Found) -> list[str]:
    """The summers."""
    lines = head("seed hits_of_4 share_of_the_rating_given_in_each dispatch_days")
    for case, r in found.items():
        if case.scenario == "four-cp":
            w = r["watched"]["plan"]
            lines.append(f"| {seed(case)} | {w['hits']} | {', '.join(f'{x:.2f}' for x in w['given_in_peaks'])} | {w['dispatch_days']} |")
    return lines


def share(r: Mapping[str, Any]) -> float | None:
    """The plan's part of what the bound saves over capped."""
    if "bound" not in r:
        return None
    return share_of_bound(r["policies"]["plan"]["cost"]["total"], r["policies"]["capped"]["cost"]["total"], r["bound"]["total"])


def penalty(r: Mapping[str, Any]) -> float:
    """Workload cost of the plan over the oracle's; a dollar of the oracle's at least."""
    return float(r["policies"]["plan"]["cost"]["workload"] / max(1.0, r["policies"]["oracle"]["cost"]["workload"]))


def emergency_kwh(r: Mapping[str, Any]) -> float:
    """What emergency machines made under the plan."""
    return float(sum(g["generation_kwh"] for g in r["policies"]["plan"]["generation"].values() if g.get("duty") == "emergency"))


def most(r: Mapping[str, Any], key: str) -> float:
    """The worst of the guarded policies."""
    return float(max((p["limits"][key] or 0.0) for name, p in r["policies"].items() if name != "none"))


def seed(case: Case) -> str:
    """With a star where the plant is worse in everything."""
    return f"{case.seed}{'*' if case.seed % WORSE_EVERY == 0 else ''}"
