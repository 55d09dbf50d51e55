"""A desk on a world that is set by hand, and a store that can die right after a write."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from ems.obligation import Obligation, ObligationKind
from ems.program.decide import Feasibility
from ems.program.desk import Desk, Message
from ems.program.enrolment import EnrolmentFile
from ems.program.event import EventInterval, GridEvent
from ems.program.library import load_program, program_paths
from ems.program.stages import SiteFacts
from ems.program.status import BaselineSteps, EventStatus
from ems.program.store import EventStore, Record
from ems.program.terms import Terms

NOW = datetime(2026, 7, 15, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
PROGRAMS = {p.stem: load_program(p) for p in program_paths()}
SITE = SiteFacts("demo", 20.0, 1500.0)
ENROLMENTS = tuple(
    EnrolmentFile(program=name, status="active", since=date(2026, 1, 1), committed_kw=200.0, constant_kw=1000.0)
    for name in ("ercot-ers-30", "pge-bip", "nonfirm-connection", "pjm-economic")
)


class Killed(Exception):
    """The process died."""


class QuickStore(EventStore):
    """Does not wait for the disk: a process that dies leaves the file as it was written, with or without."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._db.execute("pragma synchronous = off")


class MortalStore(QuickStore):
    """Dies right after its n-th write is durable."""

    def __init__(self, path: Path, lives: int) -> None:
        super().__init__(path)
        self.lives = lives

    def append(self, at: datetime, kind: str, event: str, body: Any) -> Record:
        record = super().append(at, kind, event, body)
        self.lives -= 1
        if self.lives == 0:
            self.close()
            raise Killed
        return record


@dataclass
class World:
    """What the ports answer. The import follows what is asked, up to the load, unless the site `ignores` it."""

    measured_kw: float | None = 1000.0
    can_kw: float = 1000.0
    value: float = 100.0
    is_measured: bool = True
    ignores: bool = False
    resources: dict[str, tuple[float, float]] = field(default_factory=dict)
    steps: BaselineSteps = ()
    desk: Desk | None = None

    def import_kw(self, now: datetime) -> float | None:
        if self.measured_kw is None or self.desk is None or self.ignores:
            return self.measured_kw
        return min([self.measured_kw, *(o.kw for o in self.desk.obligations() if o.is_in_force(now))])

    def baseline_steps(self, event: GridEvent, terms: Terms, now: datetime) -> BaselineSteps:
        return self.steps

    def evaluate(self, event: GridEvent, terms: Terms, reference_kw: float, now: datetime) -> Feasibility:
        kw = max(i.kw for i in event.intervals)
        asked = kw if event.kind is ObligationKind.REDUCE_BY else max(0.0, reference_kw - kw)
        return Feasibility(
            asked, self.can_kw, 1.0 if self.can_kw >= asked else 0.2, self.value, 50.0, 1.0, "energy of bess-1", self.resources
        )

    def quiet(self, event: GridEvent, window: tuple[datetime, datetime], now: datetime) -> tuple[Obligation, ...]:
        return (Obligation(f"{event.id}/quiet-0", ObligationKind.IMPORT_LIMIT, 1100.0, *window, now, event.program),)

    def measure(self, status: EventStatus, terms: Terms, enrolment: EnrolmentFile | None, now: datetime) -> dict[str, Any] | None:
        return {"settlement": {"delivered_kwh": 1.0}} if self.is_measured else None


def desk_on(path: Path, world: World, store: EventStore | None = None) -> Desk:
    world.desk = None
    world.desk = Desk(store or QuickStore(path), SITE, PROGRAMS, ENROLMENTS, world)
    return world.desk


def event(
    name: str = "e1", program: str = "ercot-ers-30", start_min: float = 60, length_min: float = 120, kw: float = 200.0, **more: Any
) -> GridEvent:
    start = NOW + start_min * MINUTE
    kind = more.pop("kind", ObligationKind.REDUCE_BY)
    return GridEvent(name, program, more.pop("modification", 0), kind, (EventInterval(start, start + length_min * MINUTE, kw),), **more)


def message(event: GridEvent | None, raw: str = "", source: str = "test", problem: str = "") -> Message:
    return Message(source, raw or (event.fingerprint() if event else "?"), event, problem)


def history(store: EventStore, name: str | None = None) -> list[tuple[str, str, str, Any]]:
    """The states of events and what was posted, without sequence and hash."""
    kept = ("state", "posted")
    return [(r.at.isoformat(), r.kind, r.event, r.body) for r in store.since(0, name) if r.kind in kept]


def states(store: EventStore, name: str = "e1") -> list[str]:
    return [r.body["to"] for r in store.since(0, name) if r.kind == "state"]


def modified(event: GridEvent, number: int, **changes: Any) -> GridEvent:
    return replace(event, modification=number, **changes)
