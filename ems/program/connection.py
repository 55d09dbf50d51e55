"""A flexible connection: what its counterparty allows, written before it counts, folded from the store after a restart.

The book (ems.signals.capacity) knows the standard's fail-safe; this keeps its facts, and turns it into obligations that stay the same
until something changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from ems.obligation import Obligation, ObligationKind
from ems.program.channel import CapacityFile
from ems.program.heard import Heard
from ems.program.store import EventStore, KeptRecords, Record
from ems.signals.capacity import OPEN_END, CapacityBook, CapacityInterval

KIND = "capacity"  # of its records
PREFIX = "capacity:"  # of the ids of its obligations
TOLD_FOR = timedelta(minutes=10)  # that a limit is withdrawn


@dataclass(frozen=True)
class Told:
    """What one object of the counterparty says about the connection."""

    limits: tuple[CapacityInterval, ...] = ()
    subscriptions: tuple[CapacityInterval, ...] = ()
    reservations: tuple[CapacityInterval, ...] = ()

    def encode(self) -> dict[str, Any]:
        """Plain data."""
        return {name: [[i.start.isoformat(), i.end.isoformat(), i.kw] for i in value] for name, value in vars(self).items()}

    @staticmethod
    def decode(data: Mapping[str, Any]) -> Told:
        """It back."""
        return Told(**{name: tuple(_interval(i) for i in value) for name, value in data.items()})


class Connection:
    """One flexible connection, by the name of its channel."""

    def __init__(self, name: str, file: CapacityFile, program: str, store: EventStore | KeptRecords) -> None:
        self.name, self.program, self._file, self._store = name, program, file, store
        self.told: dict[str, Told] = {}
        self.last_contact: datetime | None = None
        self.must_poll = True
        self._sent: dict[str, Obligation] = {}
        self._ended: dict[str, Obligation] = {}
        for record in store.since():
            self.take(record)

    def resume(self, sent: Iterable[Obligation]) -> None:
        """What a process before this one sent: it is taken back where it no longer holds."""
        self._sent |= {o.id: o for o in sent if name_in(o.id) == self.name}

    @property
    def known(self) -> tuple[str, ...]:
        """Ids of the objects that count."""
        return tuple(self.told)

    def hear(self, heard: Heard, now: datetime) -> bool:
        """Takes what an object says; False when it says what is known."""
        told = Told(heard.limits, heard.subscriptions, heard.reservations)
        if self.told.get(heard.id, Told()) == told:
            return False
        self._write(now, {"event": heard.id, "sha256": heard.sha256, **({"told": told.encode()} if heard.is_capacity else {})})
        return True

    def drop(self, event: str, why: str, now: datetime) -> None:
        """An object that is no more."""
        if event in self.told:
            self._write(now, {"event": event, "why": why})

    def contact(self, now: datetime) -> None:
        """The counterparty answered. Written a few times within the time after which it would count as lost."""
        if self.last_contact is None or self.must_poll or now - self.last_contact >= timedelta(seconds=self._file.stale_after_s / 4):
            self._write(now, {"contact": now.isoformat()})

    def outage(self, now: datetime) -> None:
        """The grid was out: every limit is discarded and must be asked for again."""
        self._write(now, {"outage": now.isoformat()})

    def book(self, now: datetime) -> CapacityBook:
        """The rules of the standard on what is known."""
        stale_after = timedelta(seconds=self._file.stale_after_s)
        book = CapacityBook(self.subscription_kw(now), stale_after, self.program, last_contact=self.last_contact, must_poll=self.must_poll)
        for event, told in self.told.items():
            if told.limits:
                book.schedules[event] = tuple(sorted(told.limits, key=lambda i: i.start))
            book.reservations |= {f"{event}/{n}": i for n, i in enumerate(told.reservations)}
        return book

    def subscription_kw(self, now: datetime) -> float:
        """As told for now (the smallest, where several say), else as agreed in the file."""
        told = [i.kw for t in self.told.values() for i in t.subscriptions if i.start <= now < i.end]
        return min(told, default=self._file.subscription_kw)

    def obligations(self, now: datetime) -> tuple[Obligation, ...]:
        """What the site must hold, with withdrawn ones ended; the same objects until something changes. Anchored on the day, so that the
        part without limits does not move with the clock."""
        anchor = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        book = self.book(now)
        if book.is_lost(now):
            book.last_contact = None  # lost for all of the day that is written down
        elif book.last_contact is not None:
            book.last_contact = max(book.last_contact, anchor)
        limits = book.limits(anchor)
        wanted = {o.id: o for o in (self._obligation(x.kw, x.source, x.valid_from, x.valid_to, now) for x in limits) if o.end > now}
        ended = [
            replace(o, start=min(o.start, now), end=now, notice_at=now) for i, o in self._sent.items() if i not in wanted and o.end > now
        ]
        kept = {i: self._sent.get(i, o) for i, o in wanted.items()}
        self._sent = kept
        return (*ended, *kept.values())

    def _obligation(self, kw: float, source: str, start: datetime | None, end: datetime | None, now: datetime) -> Obligation:
        assert start is not None
        end = min(end or start + OPEN_END, start + OPEN_END)
        name = f"{PREFIX}{self.name}/{source}/{start:%Y%m%dT%H%M%SZ}-{end:%Y%m%dT%H%M%SZ}/{kw:g}"
        return Obligation(name, ObligationKind.IMPORT_LIMIT, kw, start, end, now, self.program)

    def _write(self, now: datetime, body: Mapping[str, Any]) -> None:
        assert isinstance(self._store, EventStore)  # what is only read is never written
        with self._store.exclusive():
            self.take(self._store.append(now, KIND, "", {"connection": self.name, **body}))

    def take(self, record: Record) -> None:
        """One more record; those of others are passed over."""
        body = record.body
        if record.kind != KIND or body.get("connection") != self.name:
            return
        if "outage" in body:
            self.told = {event: Told(subscriptions=t.subscriptions) for event, t in self.told.items() if t.subscriptions}
            self.must_poll = True
        elif "contact" in body:
            self.last_contact, self.must_poll = datetime.fromisoformat(body["contact"]), False
        elif "told" in body:
            self.told[body["event"]] = Told.decode(body["told"])
        else:
            self.told.pop(body["event"], None)


def name_in(obligation: str) -> str:
    """The connection that an obligation's id belongs to, "" for others."""
    return obligation.removeprefix(PREFIX).split("/", 1)[0] if obligation.startswith(PREFIX) else ""


def withdrawn(o: Obligation, now: datetime) -> Obligation:
    """An obligation that ends now."""
    return replace(o, start=min(o.start, now), end=now, notice_at=now)


def _interval(data: Sequence[Any]) -> CapacityInterval:
    start, end, kw = data
    return CapacityInterval(datetime.fromisoformat(start), datetime.fromisoformat(end), float(kw))
