"""What must hold of a year of programmes, found again from its records, its meter and the programme files: every fault in one line."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import combinations
from pathlib import Path

import numpy as np

from ems.kpi.bills.lines import DEMAND
from ems.program.evidence import Evidence, recompute, write_bundle
from ems.program.ledger import RESTORED_IN
from ems.program.library import program_path
from ems.program.months import MonthStatement
from ems.program.schema import PaymentFile, ProgramFile
from ems.program.status import EventStatus
from ems.program.store import broken_at
from tests.campaign.year_run import Year
from tests.campaign.year_site import BATTERY, HOUSE_KW, QUARTER, SITE

ROUNDING_KW = 0.5
CENT = Decimal("0.01")
WITH_OVERHEADS = 1.3  # import of a kW of work, losses and cooling included, at most
SELLS = ("capacity", "energy")


def _events(year: Year) -> list[EventStatus]:
    return list(year.desk.events.values())


def accepted(year: Year) -> list[EventStatus]:
    """Taken, and not called off before the site moved."""
    return [s for s in _events(year) if s.opt in ("in", "partial") and not (s.event.is_cancelled and s.moved_at is None)]


def value_of(file: ProgramFile, name: str) -> float | None:
    """The value of a rule that has one version."""
    rules = getattr(file.rules, name)
    return None if rules is None else max(rules, key=lambda r: r.effective).value


def _is_mandatory(year: Year, status: EventStatus) -> bool:
    return bool(value_of(year.desk.programs[status.event.program], "is_mandatory"))


def _counters(year: Year) -> Iterator[str]:
    """Events and hours by local day, month and year, against the file; mandatory events are never refused for them."""
    for name, file in year.desk.programs.items():
        if value_of(file, "is_mandatory"):
            continue
        days = [(s.event.start.astimezone(year.zone).date(), s.event.hours) for s in accepted(year) if s.event.program == name]
        keys = {"day": lambda d: d, "month": lambda d: d.replace(day=1), "year": lambda d: date(d.year, 1, 1)}
        for period, key in keys.items():
            for group in {key(d) for d, _ in days}:
                inside = [hours for d, hours in days if key(d) == group]
                for rule, used in ((f"max_events_per_{period}", float(len(inside))), (f"max_hours_per_{period}", sum(inside))):
                    most = value_of(file, rule) if hasattr(file.rules, rule) else None
                    if most is not None and used > most + 1e-9:
                        yield f"{name} {group}: {rule} {used:g} of {most:g}"


def _exclusive(year: Year) -> Iterator[str]:
    sold = [s for s in accepted(year) if year.desk.programs[s.event.program].kind in SELLS]
    for a, b in combinations(sold, 2):
        if _meet(a, b) and not _is_shared(year, a, b):
            if a.event.program != b.event.program or year.desk.programs[a.event.program].kind == "energy":
                yield f"{a.event.id} and {b.event.id}"


def _nested(year: Year, status: EventStatus) -> list[str]:
    rules = year.desk.programs[status.event.program].rules.stacking or []
    return rules[-1].value.nested_with if rules else []


def _meet(a: EventStatus, b: EventStatus, margin: timedelta = timedelta(0)) -> bool:
    """Both stood at one time: the later one was taken before the earlier one was over."""
    ends = [min(s.event.end, s.ended_at or s.event.end) for s in (a, b)]
    return a.event.start < ends[1] + margin and b.event.start < ends[0] + margin


def _promised_twice(year: Year) -> Iterator[str]:
    """What was promised of a resource at one time is no more than it has, of the battery also within the hours it needs to fill again.
    Calls of one programme count from the same import, nested ones pay for the same kWh: what one of them takes serves the other too."""
    taken = [s for s in accepted(year) if (s.feasibility or {}).get("resources")]
    for s in taken:
        others = [o for o in taken if o.event.program != s.event.program and not _is_shared(year, s, o)]
        for resource, (kw, kwh) in _resources(s).items():
            here = [_resources(o)[resource] for o in others if resource in _resources(o) and _meet(s, o)]
            if kw + sum(k for k, _ in here) > rating_kw(resource) + ROUNDING_KW:
                yield f"{s.event.id}: {resource} {kw + sum(k for k, _ in here):.0f} of {rating_kw(resource):.0f} kW"
            if resource == BATTERY.id:
                before = [o for o in others if resource in _resources(o) and o.received_at < s.received_at and _stood(o, s)]
                near = kwh + sum(_resources(o)[resource][1] for o in before)
                if near > usable_kwh() + ROUNDING_KW:
                    yield f"{s.event.id}: {resource} {near:.0f} of {usable_kwh():.0f} kWh"


def _is_shared(year: Year, a: EventStatus, b: EventStatus) -> bool:
    return b.event.program in _nested(year, a) or a.event.program in _nested(year, b)


def _stood(other: EventStatus, s: EventStatus) -> bool:
    """The other was still to be delivered when this one was decided, and lies so near that the store is not full again."""
    is_open = (other.ended_at or other.event.end) > s.received_at
    return is_open and _meet(s, other, RESTORED_IN)


def _resources(status: EventStatus) -> dict[str, tuple[float, float]]:
    return {k: (v[0], v[1]) for k, v in ((status.feasibility or {}).get("resources") or {}).items()}


def rating_kw(resource: str) -> float:
    """The most a resource can take off the import, the overheads of work with it."""
    if resource == BATTERY.id:
        return BATTERY.power_kw * 2.0  # from charging to discharging
    cluster, name = resource.split("/")
    found = next(c for c in SITE.clusters if c.id == cluster)
    return WITH_OVERHEADS * found.classes[name].share * (found.rating_kw - found.idle_kw)


def usable_kwh() -> float:
    """What the battery can give from full to its floor."""
    return (BATTERY.max_energy_kwh - BATTERY.min_energy_kwh) * BATTERY.discharge_efficiency


def _left_over(year: Year) -> Iterator[str]:
    """A limit may only be missed when the battery is empty and all work that can wait does."""
    least_kw = {year.load.at(k): k for k in range(year.load.step(year.first), year.load.step(year.first) + len(year.quarters))}
    for q in year.quarters:
        if q.short_kw > ROUNDING_KW:
            k = least_kw[q.at]
            floor_kw = float(year.load.factor[k] * year.load.steady_kw[k]) + HOUSE_KW
            if q.import_kw > floor_kw + q.overdue_kw + ROUNDING_KW:
                yield f"{q.at.isoformat()}: {q.import_kw:.0f} kW, {floor_kw:.0f} kW cannot wait"


def _rebound(year: Year) -> Iterator[str]:
    for s in accepted(year):
        if s.reference_kw is None or s.ended_at is None:
            continue
        held = value_of(year.desk.programs[s.event.program], "recovery")
        until = s.ended_at + timedelta(minutes=getattr(held, "hold_min", 0.0))
        for q in year.quarters:
            if (
                q.at >= s.ended_at
                and q.at + QUARTER <= until
                and q.import_kw > max(s.reference_kw, s.start_kw or 0.0) + q.short_kw + ROUNDING_KW
            ):
                yield f"{s.event.id} {q.at.isoformat()} {q.import_kw:.0f} kW after {s.reference_kw:.0f}"


def _peaks(year: Year) -> Iterator[str]:
    """No demand on the bill above the one without programmes, and no month's peak in a quarter in which something came back."""
    with_, without = year.bills(year.import_kw), year.bills(year.without_kw)
    for a, b in zip(with_, without, strict=True):
        before = {x.name: x.quantity for x in b.lines if x.part == DEMAND}
        yield from (
            f"{a.month} {x.name}: {x.quantity:.1f} kW, {before[x.name]:.1f} without"
            for x in a.lines
            if x.part == DEMAND and x.quantity > before.get(x.name, 0.0) + ROUNDING_KW
        )
    months = np.array([q.at.astimezone(year.zone).month for q in year.quarters])
    back = np.array([q.is_recovering for q in year.quarters])
    for month in sorted(set(months.tolist())):
        inside = months == month
        rest = year.import_kw[inside & ~back].max()
        if (inside & back).any() and year.import_kw[inside & back].max() > rest + ROUNDING_KW:
            yield f"{month:02d}: {year.import_kw[inside & back].max():.1f} kW while something came back, {rest:.1f} otherwise"


def _settlements(year: Year) -> Iterator[str]:
    """Each settlement from its own evidence bundle alone, and its money once more by hand."""
    chain = [r.hash for r in year.desk.store.since()]
    with tempfile.TemporaryDirectory() as folder:
        for s in _events(year):
            settlement = (s.result or {}).get("settlement")
            if settlement is None:
                continue
            name, path = s.event.program, Path(folder) / "bundle.zip"
            text = program_path(name, Path("x.yaml")).read_text()
            records = year.desk.store.since(0, s.event.id)
            write_bundle(Evidence(s.event.id, records, chain, name, text, year.desk.enrolments.get(name)), path)
            yield from (f"{s.event.id}: {fault}" for fault in recompute(path))
            owed = event_money(year, s)
            if abs(owed - Decimal(settlement["expected"])) > CENT:
                yield f"{s.event.id}: {settlement['expected']}, by hand {owed}"


def event_money(year: Year, status: EventStatus) -> Decimal:
    """Delivered kWh times price less penalties, from the metered intervals of the settlement."""
    settlement = (status.result or {})["settlement"]
    file = year.desk.programs[status.event.program]
    payments: list[PaymentFile] = value_of(file, "payments") or []  # type: ignore[assignment]
    penalties = value_of(file, "penalties") or []
    total = 0.0
    for r in settlement["records"]:
        at = datetime.fromisoformat(r["start"])
        kwh = (r["baseline_kw"] - r["metered_kw"]) * r["hours"]
        for p in payments:
            if p.per == "kwh":
                per = 60 if file.name in ("caiso-pdr", "ca-elrp") else 15
                step = year.load.step(at)
                price = p.price if p.price != "indexed" else float(year.load.price_per_kwh[step : step + per // 15].mean())
                total += (kwh if p.below_zero else max(0.0, kwh)) * price
        for penalty in penalties:  # type: ignore[attr-defined]
            if penalty.per == "kwh_above":
                total -= max(0.0, r["metered_kw"] - status.event.intervals[0].kw) * r["hours"] * penalty.price
    return Decimal(f"{total:.2f}")


def _readiness(year: Year) -> Iterator[str]:
    for m in year.statements():
        for line in m.lines:
            by_hand = readiness_money(year, m)
            if abs(line.expected - by_hand) > CENT:
                yield f"{m.program} {m.month}: {line.expected}, by hand {by_hand}"


def readiness_money(year: Year, m: MonthStatement) -> Decimal:
    """kW x hours of the month (or one month) x price x delivered / owed."""
    (payment,) = [p for p in value_of(year.desk.programs[m.program], "payments") or [] if p.per != "kwh"]  # type: ignore[attr-defined]
    first = date.fromisoformat(f"{m.month}-01")
    after = (first + timedelta(days=32)).replace(day=1)
    starts = [datetime(d.year, d.month, 1, tzinfo=year.zone).timestamp() for d in (first, after)]
    owed = sum(min(c.expected_kwh, c.obligation_kwh) for c in m.called)
    asked = sum(c.obligation_kwh for c in m.called)
    share = max(0.0, owed / asked) if asked and payment.scaled_by_performance else 1.0
    length = (starts[1] - starts[0]) / 3600.0 if payment.per == "kw_h" else 1.0
    return Decimal(f"{m.committed_kw * length * payment.price * share:.2f}")


def _chain(year: Year) -> Iterator[str]:
    if (broken := broken_at(year.desk.store.since())) is not None:
        yield f"breaks at {broken}"


def _declined(year: Year) -> Iterator[str]:
    yield from (e.event.id for e in _events(year) if e.opt == "out" and _is_mandatory(year, e))


CHECKS: Mapping[str, Callable[[Year], Iterator[str]]] = {
    "hash chain": _chain,
    "counters of the programme files": _counters,
    "mandatory events declined": _declined,
    "two that stand alone at one time": _exclusive,
    "kW or kWh promised twice": _promised_twice,
    "limits not held though work was left to wait": _left_over,
    "import above the one before within the recovery": _rebound,
    "billing peaks": _peaks,
    "settlements that do not come out again": _settlements,
    "readiness that does not come out again": _readiness,
}


def faults_of(year: Year) -> dict[str, list[str]]:
    """By check; an empty list is a check that holds."""
    return {name: list(check(year)) for name, check in CHECKS.items()}
