"""Dynamic capacity limits of a flexible connection, with the fail-safe of dynamic operating envelopes (OpenADR 3.1, 8.10).

The subscribed level holds wherever no limit is known: before the first, in gaps, after the last. When nobody has been heard for too long
no limit above the subscription counts any more. After a grid outage every limit is discarded and asked for again. A reservation
that was granted adds to the subscription for its time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

from ems.limit import Limit, LimitKind
from ems.obligation import Obligation, ObligationKind

OPEN_END = timedelta(days=400)  # how far the fall-back reaches when nobody is heard again


@dataclass(frozen=True)
class CapacityInterval:
    """At most `kw` of import over `[start, end)`."""

    start: datetime
    end: datetime
    kw: float


@dataclass
class CapacityBook:
    """What one connection was told. `stale_after`: how long after the last contact limits above the subscription still count."""

    subscription_kw: float
    stale_after: timedelta
    source: str = "network operator"
    schedules: dict[str, tuple[CapacityInterval, ...]] = field(default_factory=dict)  # by the id of their event
    reservations: dict[str, CapacityInterval] = field(default_factory=dict)
    last_contact: datetime | None = None
    must_poll: bool = True  # limits are to be asked for: at the start and after an outage

    def heard(self, now: datetime) -> None:
        """The counterparty answered; a poll that was due is done."""
        self.last_contact, self.must_poll = now, False

    def take(self, event: str, intervals: Sequence[CapacityInterval], now: datetime) -> None:
        """A schedule, or a newer version of one; an empty one takes it back."""
        self.heard(now)
        self.schedules.pop(event, None)
        if intervals:
            self.schedules[event] = tuple(sorted(intervals, key=lambda i: i.start))

    def reserve(self, event: str, interval: CapacityInterval | None, now: datetime) -> None:
        """Capacity granted on top of the subscription; None takes it back."""
        self.heard(now)
        self.reservations.pop(event, None)
        if interval is not None:
            self.reservations[event] = interval

    def outage(self) -> None:
        """The grid was out: every limit is discarded, the subscription holds, and limits must be asked for again."""
        self.schedules.clear()
        self.must_poll = True

    def is_lost(self, now: datetime) -> bool:
        """True when nobody was heard for too long."""
        return self.last_contact is None or now - self.last_contact > self.stale_after

    def limits(self, now: datetime) -> list[Limit]:
        """The limits from now on, without a gap; where several schedules speak, all of them (the smallest binds)."""
        known = [(e, i) for e, s in self.schedules.items() for i in s if i.end > now]
        told = [Limit(i.kw, LimitKind.CONNECTION, 1.0, 0.0, f"capacity limit {e}", "", i.start, i.end) for e, i in known]
        if self.is_lost(now):
            return told + self._subscribed([(now, now + OPEN_END)], "communication lost")
        return told + self._subscribed(gaps([i for _, i in known], now, now + OPEN_END), "no limit told")

    def obligations(self, now: datetime) -> list[Obligation]:
        """The same for control and planner, with ends of their own: they fall back by themselves when this process is gone."""
        return [
            Obligation(
                f"capacity/{n}", ObligationKind.IMPORT_LIMIT, x.kw, x.valid_from or now, x.valid_to or now + OPEN_END, now, self.source
            )
            for n, x in enumerate(self.limits(now))
        ]

    def _subscribed(self, spans: Iterable[tuple[datetime, datetime]], why: str) -> list[Limit]:
        """The subscription over given spans, raised where a reservation was granted."""
        limits = []
        for begin, end in spans:
            edges = sorted({begin, end, *(t for r in self.reservations.values() for t in (r.start, r.end) if begin < t < end)})
            for a, b in pairwise(edges):
                granted = {e: r.kw for e, r in self.reservations.items() if r.start <= a and r.end >= b}
                name = f"reservation {', '.join(granted)}" if granted else f"subscription ({why})"
                limits.append(Limit(self.subscription_kw + sum(granted.values()), LimitKind.CONNECTION, 1.0, 0.0, name, "", a, b))
        return limits


def gaps(intervals: Iterable[CapacityInterval], begin: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """The parts of `[begin, end)` that no interval covers."""
    found, at = [], begin
    for i in sorted(intervals, key=lambda i: i.start):
        if i.start > at:
            found.append((at, min(i.start, end)))
        at = max(at, i.end)
    return [*found, (at, end)] if at < end else found


def operator_cap(kw: float, by: str, valid_from: datetime, valid_to: datetime) -> Limit:
    """A cap on import that a named person set."""
    return Limit(kw, LimitKind.ORDER, source=f"operator cap by {by}", valid_from=valid_from, valid_to=valid_to)


def firm_and_flexible(firm_kw: float, flexible_kw: float, curtailed: Iterable[CapacityInterval]) -> list[Limit]:
    """A non-firm connection: the flexible level, and the firm one while the operator curtails."""
    cut = [Limit(max(firm_kw, i.kw), LimitKind.CONNECTION, 1.0, 0.0, "non-firm part curtailed", "", i.start, i.end) for i in curtailed]
    return [Limit(flexible_kw, LimitKind.CONNECTION, source="non-firm connection"), *cut]
