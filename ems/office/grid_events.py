"""The newest grid events in words, for the page and the API."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ems.obligation import ObligationKind
from ems.office import words
from ems.program.states import FINAL, State
from ems.program.status import EventStatus

MOST_SHOWN = 5
SHOWN_AFTER = timedelta(days=1)  # of site time
ASKED = {ObligationKind.REDUCE_BY: "reduce by", ObligationKind.REDUCE_TO: "reduce to", ObligationKind.IMPORT_LIMIT: "import at most"}
STATES = {State.PREPOSITIONING: "scheduled", State.JOIN_IN_PROGRESS: "joined late", State.RAMPING_DOWN: "going down"}


@dataclass(frozen=True)
class ShownEvent:
    """One event as a person reads it; `is_bad`: it is not held, or was not."""

    id: str
    program: str
    kind: ObligationKind
    kw: float
    start: datetime
    end: datetime
    state: State
    opt: str
    delivered_kwh: float | None
    owed_kwh: float | None
    is_bad: bool

    def said(self, time_zone: str) -> str:
        """What is asked, when, and where it stands."""
        span = f"{words.clock(self.start, time_zone)} to {words.clock(self.end, time_zone)}"
        state = STATES.get(self.state, self.state.value.replace("_", " "))
        if self.delivered_kwh is not None and self.owed_kwh is not None:
            state = f"delivered {self.delivered_kwh:,.0f} of {self.owed_kwh:,.0f} kWh"
        return f"{ASKED[self.kind]} {words.kw(self.kw)}, {span}: {state}"

    def encode(self) -> dict[str, Any]:
        """Plain data."""
        values = {"kind": self.kind.value, "state": self.state.value}
        return {**vars(self), **values, "start": self.start.isoformat(), "end": self.end.isoformat()}


def shown_events(events: Iterable[EventStatus], now: datetime) -> tuple[ShownEvent, ...]:
    """The newest events that are not long over, the newest first."""
    there = [s for s in events if s.event.intervals and s.event.end > now - SHOWN_AFTER]
    return tuple(_shown(s) for s in sorted(there, key=lambda s: s.event.start, reverse=True)[:MOST_SHOWN])


def _shown(status: EventStatus) -> ShownEvent:
    event, settlement = status.event, (status.result or {}).get("settlement") or {}
    missed = settlement.get("is_compliant") is False
    is_bad = status.state is State.DERATED or (status.state in FINAL and status.opt == "") or missed
    delivered, owed = settlement.get("delivered_kwh"), settlement.get("obligation_kwh")
    kw = event.intervals[0].kw
    return ShownEvent(event.id, event.program, event.kind, kw, event.start, event.end, status.state, status.opt, delivered, owed, is_bad)
