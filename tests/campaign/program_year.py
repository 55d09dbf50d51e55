"""A year of events under five stacked programmes on one site: what was promised, counted, delivered, paid and billed, and what was wrong.

    python -m tests.campaign.program_year [--seed N] [--months 7,8] [--stack california] [--write]

The checks (`year_checks`) find everything again from the records, the meter and the programme files.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path

from ems.kpi.bills.lines import DEMAND, MonthlyBill
from ems.program.status import EventStatus
from tests.campaign.year_calls import STACKS, Stack
from tests.campaign.year_checks import accepted, faults_of, value_of
from tests.campaign.year_run import Year, run_year

TABLE = Path(__file__).with_name("program-year.md")
WHY = (
    ("stands alone", "another's hours"),
    ("paid for the same kWh", "another's hours"),
    ("at most", "counter used up"),
    ("outside the programme", "season or hours"),
    ("costs more", "does not pay"),
    ("hold", "not deliverable"),
)
HEAD = """# A year of events under five stacked programmes

`make program-year`: seed 1, 2026, two stacks of five files of `config/programs` on the demo site. The calls are drawn by `year_calls.py`,
committed before the first run; load and prices are generated; the site moves in quarters of an hour (`year_site.py`); the programme code is
whole: enrolment, event machine, ledger, decision, baseline, settlement, month's statement, bill. Calls fall on quarters, so that some begin
inside their programme's hour. USD; low / expected / high where it is an estimate. An event that is called off counts until then.
"""


def main(words: Sequence[str] | None = None) -> int:
    """Runs, prints, and with --write keeps the table; 1 when a check finds anything."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign.program_year", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--months", default=",".join(str(m) for m in range(1, 13)))
    parser.add_argument("--stack", choices=sorted(STACKS), action="append")
    parser.add_argument("--write", action="store_true", help=f"keep the table in {TABLE.name}")
    given = parser.parse_args(words)
    lines, is_sound = [HEAD], True
    for name in given.stack or list(STACKS):
        found, faults = shown(STACKS[name], [int(m) for m in given.months.split(",")], given.seed)
        lines += found
        is_sound &= not any(faults.values())
    text = "\n".join(lines) + "\n"
    print(text)
    if given.write:
        TABLE.write_text(text)
    return 0 if is_sound else 1


def shown(stack: Stack, months: Sequence[int], seed: int) -> tuple[list[str], dict[str, list[str]]]:
    """The tables of one stack, and the faults by check."""
    with tempfile.TemporaryDirectory() as folder:
        year = run_year(stack, months, seed, Path(folder))
        faults = faults_of(year)
        return [*_lines(year, faults)], faults


def _lines(year: Year, faults: dict[str, list[str]]) -> Iterator[str]:
    yield f"## {year.stack.name.capitalize()}: {', '.join(c.program for c in year.stack.callers)}\n"
    yield f"{len(year.calls)} messages, {len(year.desk.events)} events, {year.cpu_s:.0f} s of CPU.\n"
    heads = (
        "programme",
        "called",
        "taken",
        "in part",
        "called off",
        "declined",
        "hours / the year's cap",
        "whole intervals compliant",
        "delivered / owed",
    )
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"
    for caller in year.stack.callers:
        yield _program_line(year, caller.program)
    yield "\n| programme | readiness | events | year |"
    yield "|---|---|---|---|"
    yield from _money_lines(year)
    yield "\n| bill | with programmes | without |"
    yield "|---|---|---|"
    yield from _bill_lines(year.bills(year.import_kw), year.bills(year.without_kw))
    short = [q for q in year.quarters if q.short_kw > 0.5]
    worst = max((q.short_kw for q in short), default=0.0)
    kwh = sum(q.short_kw for q in short) / 4
    yield f"\nA limit was missed, the battery empty and all work waiting, in {len(short)} quarters: {worst:.0f} kW at worst, {kwh:.0f} kWh."
    yield "\n| check | found |"
    yield "|---|---|"
    yield from (f"| {name} | {len(found) or 'nothing'}{': ' + '; '.join(found[:3]) if found else ''} |" for name, found in faults.items())
    yield ""


def _program_line(year: Year, program: str) -> str:
    mine = [s for s in year.desk.events.values() if s.event.program == program]
    taken = [s for s in accepted(year) if s.event.program == program]
    declined = Counter(_reason(year, s) for s in mine if s.opt == "out")
    early = sum(s.event.is_cancelled and s.moved_at is None for s in mine)
    why = ", ".join(f"{n} {reason}" for reason, n in declined.most_common()) or "-"
    cap = value_of(year.desk.programs[program], "max_hours_per_year")
    hours = f"{sum(s.event.hours for s in taken):.0f}" + (f" / {cap:g}" if cap is not None else "")
    settled = [s.result["settlement"] for s in taken if s.result and "settlement" in s.result]
    records = [r for x in settled for r in x["records"] if r["hours"] == max(r["hours"] for r in x["records"])]
    good = f"{sum(r['is_compliant'] for r in records)} / {len(records)}" if records else "-"
    owed = sum(x["obligation_kwh"] for x in settled)
    share = f"{sum(x['delivered_kwh'] for x in settled) / owed:.1%} of {owed:,.0f} kWh" if owed else "-"
    part = sum(s.opt == "partial" for s in taken)
    return f"| {program} | {len(mine)} | {len(taken)} | {part} | {early} | {why} | {hours} | {good} | {share} |"


def _reason(year: Year, status: EventStatus) -> str:
    said = [r.body["why"] for r in year.desk.store.since(0, status.event.id) if r.kind == "state" and r.body["to"] == "declined"]
    return next((name for word, name in WHY if word in said[-1]), said[-1])


def _money_lines(year: Year) -> Iterator[str]:
    statements = year.statements()
    for program in dict.fromkeys(m.program for m in statements):
        mine = [m for m in statements if m.program == program]
        if not year.desk.programs[program].rules.payments:
            continue
        ready = _span([line for m in mine for line in m.lines])
        called = _span([c for m in mine for c in m.called])
        yield f"| {program} | {ready} | {called} | {_span(mine)} |"


def _span(rows: Sequence[object]) -> str:
    sums = [sum((getattr(r, case) for r in rows), Decimal(0)) for case in ("low", "expected", "high")]
    return " / ".join(f"{x:,.0f}" for x in sums)


def _bill_lines(with_: Sequence[MonthlyBill], without: Sequence[MonthlyBill]) -> Iterator[str]:
    for name in dict.fromkeys(line.name for bill in (*with_, *without) for line in bill.lines):
        sums = [sum((x.amount for b in bills for x in b.lines if x.name == name), Decimal(0)) for bills in (with_, without)]
        yield f"| {name} | {sums[0]:,.0f} | {sums[1]:,.0f} |"
    yield f"| total | {sum(b.total for b in with_):,.0f} | {sum(b.total for b in without):,.0f} |"
    peaks = [max(x.quantity for b in bills for x in b.lines if x.part == DEMAND and x.unit == "kW") for bills in (with_, without)]
    yield f"| highest billed kW | {peaks[0]:,.1f} | {peaks[1]:,.1f} |"


if __name__ == "__main__":
    sys.exit(main())
