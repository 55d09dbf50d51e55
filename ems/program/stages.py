"""What an accepted event asks of the import, stage by stage, as obligations: quiet, ramp, hold, rise, rest.

quiet: no storage charging inside the baseline's adjustment window; ramp: stairs down no faster than the site's ramp limit; hold: the
event itself; rise: stairs back up; rest: no more than before the event, so that nothing rebounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ems.obligation import Obligation, ObligationKind
from ems.program.event import GridEvent
from ems.program.methods import method_of
from ems.program.status import EventStatus
from ems.program.terms import Terms

STAIRS = 10
SLOWEST_RISE_MIN = 10.0  # of the way back up when the site has no ramp limit: racks, chargers and chillers return in turn
PREPOSITION_LEAD = timedelta(hours=2)


@dataclass(frozen=True)
class SiteFacts:
    """What stages need of the site."""

    name: str
    ramp_kw_per_min: float | None
    import_limit_kw: float


def acting_event(status: EventStatus, terms: Terms) -> GridEvent:
    """The event with its drawn shift; of what is mandatory only the safe direction of it."""
    return status.event.shifted(status.draw_s, terms.is_mandatory)


def limit_kw(kind: ObligationKind, asked_kw: float, reference_kw: float, accepted_kw: float | None) -> float:
    """The import limit an interval means. A reduction accepted in part never asks for more than that part."""
    if kind is ObligationKind.REDUCE_BY:
        asked_kw = max(0.0, reference_kw - asked_kw)
    return asked_kw if accepted_kw is None else max(asked_kw, reference_kw - accepted_kw)


def ramp_time(drop_kw: float, terms: Terms, site: SiteFacts) -> timedelta:
    """How long the way down takes; none where there is no ramp limit or the programme waives it."""
    if site.ramp_kw_per_min is None or terms.waives_ramp or drop_kw <= 0:
        return timedelta(0)
    return timedelta(minutes=drop_kw / site.ramp_kw_per_min)


def rise_time(rise_kw: float, terms: Terms, site: SiteFacts) -> timedelta:
    """How long the way up takes: never waived."""
    ramps = [r for r in (site.ramp_kw_per_min, terms.recovery.ramp_kw_per_min) if r is not None]
    return timedelta(minutes=max(SLOWEST_RISE_MIN, max((max(0.0, rise_kw) / r for r in ramps), default=0.0)))


def adjustment_window(event: GridEvent, terms: Terms) -> tuple[datetime, datetime] | None:
    """When the load sets the baseline's same-day adjustment; None where the method has none or reads the storage meter itself."""
    if terms.baseline is None:
        return None
    method = method_of(terms.baseline.method, terms.baseline.with_)
    if method.form == "near_event" and method.before_h[0] > 0:
        return event.start - timedelta(hours=method.before_h[0]), event.start - timedelta(hours=method.before_h[1])
    if method.form != "like_days" or method.adjustment == "none" or method.output_only:
        return None
    return event.start - timedelta(hours=method.adjust_from_h), event.start - timedelta(hours=method.adjust_to_h)


def basis_kw(status: EventStatus, reference_kw: float) -> float:
    """What a reduction is counted from: the programme's baseline where it is known, else the import before the event."""
    return status.baseline_kw if status.baseline_kw is not None else reference_kw


def basis_at(status: EventStatus, reference_kw: float, at: datetime) -> float:
    """The same in the baseline's interval that has an instant, as the settlement will count it."""
    begun = [kw for start, kw in status.baseline_steps if start <= at]
    return begun[-1] if begun else basis_kw(status, reference_kw)


def hold_parts(event: GridEvent, status: EventStatus, reference_kw: float) -> list[list[tuple[datetime, datetime, float]]]:
    """Per interval of an event what the import is held at, in parts: a reduction follows its baseline from interval to interval."""
    found = []
    for i in event.intervals:
        edges = [i.start, *(s for s, _ in status.baseline_steps if i.start < s < i.end), i.end]
        levels = [limit_kw(event.kind, i.kw, basis_at(status, reference_kw, edge), status.accepted_kw) for edge in edges[:-1]]
        parts: list[tuple[datetime, datetime, float]] = []
        for start, end, kw in zip(edges, edges[1:], levels, strict=False):
            if parts and round(parts[-1][2], 3) == round(kw, 3):
                start = parts.pop()[0]
            parts.append((start, end, kw))
        found.append(parts)
    return found


def ramp_begins(status: EventStatus, terms: Terms, site: SiteFacts, reference_kw: float) -> datetime:
    """When the site must begin to move so that it is down in time."""
    event = acting_event(status, terms)
    first_kw = hold_parts(event, status, reference_kw)[0][0][2]
    return event.start - ramp_time(reference_kw - first_kw, terms, site)


def stages(status: EventStatus, terms: Terms, site: SiteFacts, reference_kw: float) -> tuple[Obligation, ...]:
    """Every obligation of an event that is accepted or recovering."""
    event = acting_event(status, terms)
    ended_at = status.ended_at
    make = _Maker(status, event)
    for n, o in enumerate(status.quiet):
        make.add(f"quiet-{n}", o.start, o.end, o.kw, o.sets_baseline)
    if ended_at is None:
        _down(make, event, status, terms, site, reference_kw)
    last_kw = hold_parts(event, status, reference_kw)[-1][-1][2]
    begin, from_kw = (event.end, last_kw) if ended_at is None else (ended_at, status.start_kw if status.start_kw is not None else last_kw)
    _up(make, begin, from_kw, terms, site, ceiling_kw(status, terms, reference_kw))
    return tuple(make.made)


def ceiling_kw(status: EventStatus, terms: Terms, reference_kw: float) -> float:
    """What the import may come back to: as before the event; where the programme reads that off the meter, no more than it read."""
    return min(reference_kw, basis_kw(status, reference_kw)) if reads_before(terms) else reference_kw


def reads_before(terms: Terms) -> bool:
    """True where the programme's baseline is the meter shortly before the event."""
    return terms.baseline is not None and method_of(terms.baseline.method, terms.baseline.with_).form == "near_event"


def recovered_at(status: EventStatus, terms: Terms, site: SiteFacts, reference_kw: float) -> datetime:
    """When nothing more is asked."""
    return max((o.end for o in stages(status, terms, site, reference_kw)), default=status.since)


def held_kw(obligations: Sequence[Obligation], now: datetime, otherwise_kw: float) -> float:
    """The import limit in force now among an event's obligations."""
    return min((o.import_limit_kw() for o in obligations if o.is_in_force(now)), default=otherwise_kw)


class _Maker:
    def __init__(self, status: EventStatus, event: GridEvent) -> None:
        self.status, self.event = status, event
        self.made: list[Obligation] = []

    def add(self, stage: str, start: datetime, end: datetime, kw: float, sets_baseline: bool = False) -> None:
        if end > start:
            made = Obligation(
                id=f"{self.event.id}/{stage}",
                kind=ObligationKind.IMPORT_LIMIT,
                kw=round(kw, 3),
                start=start,
                end=end,
                notice_at=self.status.received_at,
                program=self.event.program,
                sets_baseline=sets_baseline,
            )
            self.made.append(made)


def _down(make: _Maker, event: GridEvent, status: EventStatus, terms: Terms, site: SiteFacts, reference_kw: float) -> None:
    held = hold_parts(event, status, reference_kw)
    first_kw = held[0][0][2]
    takes = ramp_time(reference_kw - first_kw, terms, site)
    begin = max(event.start - takes, status.moved_at or status.received_at)
    for n in range(STAIRS if takes else 0):
        kw = reference_kw - (reference_kw - first_kw) * (n + 1) / (STAIRS + 1)
        make.add(f"ramp-{n}", begin + takes * n / STAIRS, begin + takes * (n + 1) / STAIRS, kw)
    for n, parts in enumerate(held):
        for m, (start, end, kw) in enumerate(parts):
            make.add(f"hold-{n}.{m}" if m else f"hold-{n}", max(start, begin + takes) if takes else start, end, kw)


def _up(make: _Maker, begin: datetime, from_kw: float, terms: Terms, site: SiteFacts, ceiling_kw: float) -> None:
    rise_kw = ceiling_kw - from_kw
    takes = rise_time(rise_kw, terms, site) if rise_kw > 0 else timedelta(0)
    for n in range(STAIRS if takes else 0):
        make.add(f"rise-{n}", begin + takes * n / STAIRS, begin + takes * (n + 1) / STAIRS, from_kw + rise_kw * (n + 1) / STAIRS)
    until = begin + max(takes, timedelta(minutes=terms.recovery.hold_min))
    make.add("rest", begin + takes, until, max(ceiling_kw, from_kw))
