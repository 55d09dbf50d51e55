"""Channels to head-ends in the running daemon: what they bring goes to the desk and to the connections, what they ask is reported.

Everything here runs in the job that moves events; the network is the lines' business. Polling is the truth; a webhook only makes a line
look at once. Every message is kept with its hash before anything follows from it.
"""

from __future__ import annotations

import json
import secrets
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from adapters.aggregator.client import Aggregator
from adapters.openadr3.ven import Ven
from ems.clock import Clock
from ems.errors import ConfigError, DataError
from ems.mailbox import Mailbox
from ems.obligation import Obligation
from ems.office.gateway import GatewayDesk, tell_contact
from ems.office.lines import Counterpart, Line
from ems.office.programs import HOSTILE, Programs
from ems.office.replies import Replies
from ems.program.channel import FILE_NAME, ChannelFile, ChannelsFile, load_channels, secret_from
from ems.program.connection import TOLD_FOR, Connection, name_in, withdrawn
from ems.program.desk import Desk, Message, is_closed
from ems.program.envelope import FlexibilityEnvelope, envelope
from ems.program.heard import Heard, Look
from ems.program.ledger import Ledger
from ems.program.library import find_program
from ems.program.status import decode_obligation
from ems.program.terms import terms_on
from ems.signals.prices import PriceRow

OUTAGE = "grid outage"  # the guard's name of it
PRICE_MEMORY = timedelta(days=8)
MOST_REMARKS = 20
MOST_NEW = 500  # objects of one look: a head-end that floods us fills no disk at once
ENVELOPE_EVERY = timedelta(seconds=60)


def counterpart_for(channel: ChannelFile, path: Path) -> Counterpart:
    """The adapter of a channel's profile. DataError where what it needs is not there."""
    if channel.profile in ("openadr-3.1", "openadr-3.0.1"):
        return Ven(channel, path)
    if channel.profile == "aggregator":
        return Aggregator(channel, path)
    if channel.profile == "openadr-2.0b":
        try:
            from adapters.openadr2.ven import Ven2
        except ImportError:
            raise DataError(f"channel {channel.id}: OpenADR 2.0b needs the extra `openadr2` (openleadr)") from None
        return Ven2(channel, path)
    raise DataError(f"channel {channel.id}: no adapter for {channel.profile}")


class Channels:
    """The lines of one office. `deliver` and `obligations` belong to the job that moves events, `hint` to the web server."""

    def __init__(
        self,
        programs: Programs,
        state_dir: Path,
        mailbox: Mailbox,
        clock: Clock,
        make: Callable[[ChannelFile, Path], Counterpart] = counterpart_for,
    ) -> None:
        self.path = state_dir / FILE_NAME
        self.lines: dict[str, Line] = {}
        self.connections: dict[str, Connection] = {}
        self.remarks: deque[str] = deque(maxlen=MOST_REMARKS)
        self._programs, self._mailbox, self._clock, self._make = programs, mailbox, clock, make
        self.gateway: GatewayDesk | None = None
        self.envelope: FlexibilityEnvelope | None = None  # the newest
        self._reckoned_at: datetime | None = None
        self._opened: tuple[float, Desk] | None = None
        self._replies = Replies(programs, mailbox)
        self._seen: dict[str, str] = {}  # hash by our id
        self._wanted: tuple[Obligation, ...] = ()
        self._orphans: tuple[Obligation, ...] = ()  # limits of connections that are no more, ended
        self._lost: tuple[str, ...] = ()
        self._was_outage: str = ""
        self._tokens: dict[str, str] = {}

    def deliver(self, desk: Desk, now: datetime) -> None:
        """Hands to the desk what the lines brought, and to the lines what is to be reported."""
        self._open(desk, now)
        self._look_at_cycle(now)
        for line in self.lines.values():
            while line.brought:
                self._take(line, line.brought.popleft(), desk, now)
            line.expected = tuple(self._standing(line, desk, now))
        self._replies.hand_in(self.lines, desk, now, self.remarks)
        if self.gateway is not None:
            self.gateway.deliver(now, self.envelope)
        self._orphans = tuple(o for o in self._orphans if o.end > now - TOLD_FOR)
        self._wanted = (*self._orphans, *(o for c in self._connections() for o in c.obligations(now)))
        self._lost = tuple(c.name for c in self._connections() if c.book(now).is_lost(now))

    def obligations(self, now: datetime) -> Iterator[Obligation]:
        """What the connections ask of the site, as of the last `deliver`."""
        yield from self._wanted

    def reckon(self, now: datetime) -> None:
        """The flexibility envelope, anew when the last is older than ENVELOPE_EVERY; none while there is no plan."""
        if self._reckoned_at is not None and now - self._reckoned_at < ENVELOPE_EVERY:
            return
        self._reckoned_at = now
        ports = self._programs.ports
        plan = ports.plan(now)
        if plan is None:
            self.envelope = None
            return
        ledger = self._programs.desk().ledger if self._programs.is_needed else Ledger()
        terms = terms_on(find_program("manual", self.path), now.date())
        self.envelope = envelope(ports.site, plan, ports.reserve_kwh(plan, now), ledger, terms, now, ports.trust(now))

    def _connections(self) -> tuple[Connection, ...]:
        gateway = () if self.gateway is None else (self.gateway.connection,)
        return (*self.connections.values(), *gateway)

    def hint(self, channel: str, token: str, body: bytes = b"") -> bool:
        """A webhook came: the line looks at once. False for a wrong token or a channel without webhook."""
        known = self._tokens.get(channel, "")
        if not known or not secrets.compare_digest(known.encode(), token.encode()):
            return False
        line = self.lines[channel]
        line.called(body)
        line.hint()
        return True

    def notes(self, now: datetime) -> Iterator[str]:
        """The channels' troubles, for eyes."""
        yield from (f"channel {line.trouble}" for line in self.lines.values() if line.trouble)
        yield from (f"channel {name}: communication lost" for name in self._lost)
        yield from list(self.remarks)[-1:]

    def close(self) -> None:
        """Stops the lines."""
        for line in self.lines.values():
            line.stop()
        if self.gateway is not None:
            self.gateway.close()
        self.lines, self.connections, self.gateway, self._opened = {}, {}, None, None

    # -- opening --------------------------------------------------------------------------------------------------------------------

    def _open(self, desk: Desk, now: datetime) -> None:
        """The lines of channels.yaml; made anew when it or the enrolments changed. A file that is wrong leaves no line."""
        stamp = self.path.stat().st_mtime if self.path.is_file() else 0.0
        if self._opened is not None and self._opened[0] == stamp and self._opened[1] is desk:
            return
        self.close()
        self._opened = (stamp, desk)
        self._seen = {}
        self._replies.resume(desk)
        try:
            file = load_channels(self.path, set(desk.enrolments))
        except ConfigError as error:
            self.remarks.append(f"channels: {error}".splitlines()[0])
            return
        sent = list(self._sent_before(now))
        self._connect(file, desk, sent)
        names = {"", *(c.name for c in self._connections())}
        self._orphans = tuple(withdrawn(o, now) for o in sent if name_in(o.id) not in names)

    def _connect(self, file: ChannelsFile, desk: Desk, sent: Sequence[Obligation]) -> None:
        for channel in file.channels:
            try:
                line = Line(channel, self._make(channel, self.path), self._clock)
                token = secret_from(self.path, channel.webhook.token_file) if channel.webhook else ""
            except (DataError, OSError) as error:
                self.remarks.append(f"channel {channel.id}: {error}")
                continue
            self.lines[channel.id], self._tokens[channel.id] = line, token
            if channel.capacity is not None:
                program = next(iter(channel.programs.values()))
                connection = Connection(channel.id, channel.capacity, program, desk.store)
                connection.resume(sent)
                self.connections[channel.id] = connection
            line.start()
        if file.gateway is not None:
            try:
                self.gateway = GatewayDesk.started(file.gateway, self._programs.site, desk, self._mailbox, self._clock.now)
                self.gateway.connection.resume(sent)
            except DataError as error:
                self.remarks.append(str(error))

    def _sent_before(self, now: datetime) -> Iterator[Obligation]:
        """What an office before this one sent and is not over."""
        newest: dict[str, Obligation] = {}
        for message in self._mailbox.since("event", 0, 10_000):
            try:
                o = decode_obligation(message.body)
                newest[o.id] = o
            except HOSTILE:
                continue
        yield from (o for o in newest.values() if o.end > now)

    # -- taking ---------------------------------------------------------------------------------------------------------------------

    def _take(self, line: Line, look: Look, desk: Desk, now: datetime) -> None:
        for remark in look.remarks:
            self.remarks.append(remark)
        self._replies.take(line, look, desk, now)
        if look.trouble or (not look.heard and not look.is_full):
            return
        connection = self.connections.get(line.channel.id)
        fresh = 0
        for heard in look.heard:
            fresh += self._seen.get(heard.id) != heard.sha256
            if fresh <= MOST_NEW or self._seen.get(heard.id) == heard.sha256:
                self._hear(line, connection, heard, desk, now)
        if fresh > MOST_NEW:
            self.remarks.append(f"channel {line.channel.id}: {fresh} new objects at once: {MOST_NEW} taken, the others at the next look")
        if connection is not None:
            connection.contact(look.at)
            tell_contact(self._mailbox, connection.name, look.at, now)
        for event in look.gone:
            self._drop(line, connection, event, desk, now)

    def _hear(self, line: Line, connection: Connection | None, heard: Heard, desk: Desk, now: datetime) -> None:
        """One object. The text that was seen last is not looked at again, except for limits: a loop without end goes on."""
        is_known = self._seen.get(heard.id) == heard.sha256
        self._seen[heard.id] = heard.sha256
        self._replies.remember(heard)
        source = f"channel {line.channel.id}"
        if heard.problem and not is_known:
            desk.keep(Message(source, heard.raw, None, heard.problem), "refused", heard.problem, now)
        if heard.event is not None and not is_known:
            self._receive(source, heard, desk, now)
        if heard.is_capacity and connection is None:
            why = "capacity limits, but the channel says nothing of a flexible connection (capacity:)"
            if not is_known:
                desk.keep(Message(source, heard.raw, None, why), "refused", why, now)
        elif connection is not None and not heard.problem:  # of an object that cannot be read the version known stands
            if not is_known and heard.is_capacity:
                desk.keep(Message(source, heard.raw, None), "taken", f"capacity of {connection.name}", now)
            connection.hear(heard, now)
        if not is_known:
            self._feed_prices(line, heard.prices, desk, source, heard, now)
            for alert in heard.alerts:
                desk.keep(Message(source, heard.raw, None), "taken", alert, now)
                self.remarks.append(f"channel {line.channel.id}: {alert}")

    def _receive(self, source: str, heard: Heard, desk: Desk, now: datetime) -> None:
        event = heard.event
        assert event is not None
        old = desk.events.get(event.id)
        if event.is_cancelled and not event.intervals and old is not None:
            event = replace(old.event, modification=max(event.modification, old.event.modification), is_cancelled=True)
        answer = desk.receive(Message(source, heard.raw, event), now)
        if answer.verdict == "refused":
            self.remarks.append(f"{event.id} refused: {answer.why}")

    def _drop(self, line: Line, connection: Connection | None, event: str, desk: Desk, now: datetime) -> None:
        why = "no longer shown by the head-end"
        if connection is not None:
            connection.drop(event, why, now)
        self._seen.pop(event, None)
        status = desk.events.get(event)
        if status is not None and not is_closed(status):
            raw = json.dumps({"gone": event, "at": now.isoformat()})
            desk.receive(Message(f"channel {line.channel.id}", raw, replace(status.event, is_cancelled=True), why), now)

    def _feed_prices(self, line: Line, rows: tuple[PriceRow, ...], desk: Desk, source: str, heard: Heard, now: datetime) -> None:
        if not rows or heard.event is not None:
            return
        why = f"{len(rows)} prices" + ("" if line.channel.price_source else ", not used: the channel has no price_source")
        if desk.keep(Message(source, heard.raw, None), "taken", why, now) and line.channel.price_source:
            body = {"rows": [_encoded(r) for r in rows]}
            self._mailbox.post("prices", body, now, now + PRICE_MEMORY)

    def _standing(self, line: Line, desk: Desk, now: datetime) -> Iterator[str]:
        """Our ids that the head-end should still show."""
        mine = f"{line.channel.id}:"
        yield from (
            e for e, s in desk.events.items() if e.startswith(mine) and not s.event.is_cancelled and s.event.end > self._clock.now()
        )
        if connection := self.connections.get(line.channel.id):
            yield from connection.known

    def _look_at_cycle(self, now: datetime) -> None:
        """The newest cycle: its import is metered, and the grid's absence is seen."""
        snapshot = self._mailbox.latest("snapshot", now)
        if snapshot is None:
            return
        try:
            standing = [d["since"] for d in snapshot.body.get("degraded", ()) if d["name"] == OUTAGE]
            if snapshot.body.get("is_metered", True) and "import_kw" in snapshot.body:
                self._replies.meter.add(datetime.fromisoformat(snapshot.body["at"]), float(snapshot.body["import_kw"]))
        except HOSTILE:
            return
        self._follow_outage(str(standing[0]) if standing else "", now)

    def _follow_outage(self, outage: str, now: datetime) -> None:
        """When the grid is out, and again when it is back: limits are discarded and asked for at once."""
        if outage == self._was_outage:
            return
        self._was_outage = outage
        self._seen = {}
        for connection in self._connections():
            connection.outage(now)
            if line := self.lines.get(connection.name):
                line.brought.clear()  # what was told before the grid came back counts no more
                line.hint()


def _encoded(row: PriceRow) -> Mapping[str, Any]:
    instants = {"valid_from": row.valid_from, "valid_to": row.valid_to, "available_at": row.available_at}
    return {**{k: v.isoformat() for k, v in instants.items()}, "price_per_kwh": row.price_per_kwh, "source": row.source}
