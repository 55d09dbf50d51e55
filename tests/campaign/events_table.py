"""The table of the random events: counts against goals, and every case that missed one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

IN = ("accepted", "partial")
INTRO = """# Random grid events in closed loop

`make events` (resumable; about 45 CPU minutes on an idle core). Each seed draws site, programme (mandatory or voluntary), kind, depth
10-40 % of the import before the call, notice 0-60 min, length 5 min to 4 h, a story (plain, overlapping, modified, cancelled) and one fault
([`events_cases.py`](events_cases.py), committed before the first run; the product was improved on seeds 301-360). 5-s control, a plan every
5 min and on news, generated load, prices and weather, one day of load history, the month's expected peak given.

The meter's truth judges. The baseline is the quarter of an hour before the event; settlement intervals are quarters from its start, the
last one cut at its end; delivered energy counts up to what is owed in each interval; the hour after is judged by five-minute means,
meter class 0.2 %. A case is compliant when every event in it is that was accepted, in whole or in part. Whether it was feasible says a
linear program with perfect foresight and the simulator's ratings ([`events_oracle.py`](events_oracle.py)), all events of the case
together.
"""
ZERO_NOTICE = """## No notice

A 30 % cut without notice on the 2 MW site at 1-s control ([`test_events.py`](test_events.py), 2026-11-21): 1,135 kW before, target 734 kW.
After one second the meter shows 560 kW with storage and 729 kW with compute alone, and from then on it is never above the target. What does
not flatter: with storage, halls and store both answer in the first two seconds, and the meter dips to 354 kW before the caps widen again.
From the fourth second on storage hands over to work in steps of at most 66 kW.
"""
Row = dict[str, Any]


def summary_line(row: Row) -> str:
    """One seed in one line."""
    events = "; ".join(
        f"{e['event']} {', '.join(e['opts']) or 'undecided'}"
        + ("" if not e["owed_kwh"] else f" {'held' if e['is_compliant'] else 'MISSED'} worst {e['worst']:.3f}")
        + (" DERATED" if e["is_derated"] else "")
        + (f" REBOUND {e['rebound_kw']:.0f} kW" if e["rebound_kw"] > 0 else "")
        + (f" ({e['why']})" if "declined" in e["opts"] else "")
        for e in row["events"]
    )
    breach = f" RESERVE {row['reserve_breach_s']:.0f} s" if row["reserve_breach_s"] else ""
    feasible = "feasible" if row["is_feasible"] else "infeasible"
    head = f"{row['seed']} {row['site']} {row['story']} {row['program'].removeprefix('events-')} {row['fault']} {feasible}"
    return f"{head}: {events}{breach} [{row['cpu_s']:.0f} s]"


def counts(rows: Sequence[Row]) -> dict[str, float]:
    """Everything the goals speak of."""
    taken = [r for r in rows if any(is_taken(e) for e in r["events"])]
    held = [r for r in taken if all(e["is_compliant"] for e in r["events"] if is_taken(e))]
    must = [r for r in rows if r["program"] == "events-mandatory"]
    declined = [r for r in must if not all(is_whole(e) for e in r["events"])]
    feasible = [r for r in rows if r["is_feasible"]]
    whole = [r for r in feasible if all(is_whole(e) for e in r["events"])]
    events = [e for r in taken for e in r["events"] if is_taken(e)]
    owed = sum(e["owed_kwh"] for e in events)
    return {
        "cases": len(rows),
        "accepted": len(taken),
        "compliant": len([r for r in held if r not in declined]),
        "mandatory declined": len(declined),
        "delivered share": sum(e["delivered_kwh"] for e in events) / owed if owed else 1.0,
        "derated": len([r for r in taken if any(e["is_derated"] for e in r["events"])]),
        "reserve breaches": len([r for r in rows if r["reserve_breach_s"] > 0]),
        "rebounds": len([r for r in taken if any(e["rebound_kw"] > 0 for e in r["events"] if is_taken(e))]),
        "feasible": len(feasible),
        "feasible accepted whole": len(whole),
        "cpu_min": sum(r["cpu_s"] for r in rows) / 60.0,
    }


def is_taken(event: Row) -> bool:
    """True when the event, or a version of it, was accepted, be it in part."""
    return any(opt in IN for opt in event["opts"])


def is_whole(event: Row) -> bool:
    """True when every version of the event was accepted in full."""
    decided = [opt for opt in event["opts"] if opt != "cancelled"]
    return bool(decided) and all(opt == "accepted" for opt in decided)


def table(rows: Sequence[Row], wanted: int) -> str:
    """The page."""
    lines = [INTRO, *_goals(rows, wanted), "", "## Missed", ""]
    lines += [f"- {summary_line(r)}" for r in rows if is_missed(r)] or ["none"]
    lines += ["", "## Feasible and not taken whole", ""]
    lines += [f"- {summary_line(r)}" for r in rows if r["is_feasible"] and not all(is_whole(e) for e in r["events"])] or ["none"]
    return "\n".join([*lines, "", ZERO_NOTICE])


def is_missed(row: Row) -> bool:
    """True when any goal was missed in this case."""
    taken = [e for e in row["events"] if is_taken(e)]
    is_declined = row["program"] == "events-mandatory" and not all(is_whole(e) for e in row["events"])
    broken = any(not e["is_compliant"] or e["is_derated"] or e["rebound_kw"] > 0 for e in taken)
    return is_declined or broken or row["reserve_breach_s"] > 0


def _goals(rows: Sequence[Row], wanted: int) -> list[str]:
    out = ["| | goal | all | demo-2mw | enterprise-50mw |", "|---|---|---|---|---|"]
    parts = [rows, *([r for r in rows if r["site"] == s] for s in ("demo-2mw", "enterprise-50mw"))]
    c = [counts(part) for part in parts]

    def line(name: str, goal: str, cells: list[str]) -> str:
        return f"| {name} | {goal} | {' | '.join(cells)} |"

    def of(key: str, total: str) -> list[str]:
        return [f"{x[key]:.0f} of {x[total]:.0f}" for x in c]

    out.append(line(f"cases run of {wanted}", "", [f"{x['cases']:.0f}" for x in c]))
    out.append(line("with an accepted event", "", of("accepted", "cases")))
    out.append(line("compliant, 95 % in every settlement interval", ">= 299 of 300", of("compliant", "accepted")))
    out.append(line("mandatory events declined", "0", [f"{x['mandatory declined']:.0f}" for x in c]))
    out.append(line("delivered / accepted energy", ">= 97 %", [f"{x['delivered share']:.2%}" for x in c]))
    out.append(line("derated", "<= 5 %", of("derated", "accepted")))
    out.append(line("reserve breaches", "0", [f"{x['reserve breaches']:.0f}" for x in c]))
    out.append(line("import above the baseline within 60 min after", "0", [f"{x['rebounds']:.0f}" for x in c]))
    out.append(line("accepted whole among the feasible", ">= 70 %", of("feasible accepted whole", "feasible")))
    out.append(line("CPU minutes", "", [f"{x['cpu_min']:.0f}" for x in c]))
    return out
