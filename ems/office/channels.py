"""Channels to head-ends in the running daemon: what they bring goes to the desk and to the connections, what they ask is reported.

Everything here runs in the job that moves events; the network is the lines' business. Polling is the truth; a webhook only makes a line
look at once. Every message is kept with its hash before anything follows from it.
"""

from __future__ import annotations

import json
import secrets
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from adapters.openadr3.reports import Report, body_of, due
from adapters.openadr3.ven import Ven
from ems.clock import Clock
from ems.errors import ConfigError, DataError
from ems.mailbox import Mailbox
from ems.obligation import Obligation
from ems.office.figures import OfficeFigures
from ems.office.lines import Counterpart, Line
from ems.office.programs import HOSTILE, METER_LAG, Programs
from ems.program.channel import FILE_NAME, ChannelFile, ChannelsFile, load_channels, secret_from
from ems.program.connection import Connection
from ems.program.desk import Desk, Message, is_closed
from ems.program.heard import Ask, Heard, Look
from ems.program.status import decode_obligation
from ems.signals.prices import PriceRow

OUTAGE = "grid outage"  # the guard's name of it
PRICE_MEMORY = timedelta(days=8)
MINUTE = timedelta(minutes=1)
MOST_REMARKS = 20


def counterpart_for(channel: ChannelFile, path: Path) -> Counterpart:
    """The adapter of a channel's profile. DataError where what it needs is not there."""
    if channel.profile in ("openadr-3.1", "openadr-3.0.1"):
        return Ven(channel, path)
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
        self._opened: tuple[float, Desk] | None = None
        self._asks: dict[str, tuple[Ask, ...]] = {}  # by our event id
        self._reported: set[str] = set()
        self._seen: dict[str, str] = {}  # hash by our id
        self._was_outage: str = ""
        self._tokens: dict[str, str] = {}

    @property
    def is_needed(self) -> bool:
        """True when the site has channels."""
        return self.path.exists() or self._opened is not None

    def deliver(self, desk: Desk, now: datetime) -> None:
        """Hands to the desk what the lines brought, and to the lines what is to be reported."""
        if not self.is_needed:
            return
        self._open(desk, now)
        self._follow_outage(now)
        for line in self.lines.values():
            while line.brought:
                self._take(line, line.brought.popleft(), desk, now)
            line.expected = tuple(self._standing(line, desk, now))
        self._report(desk, now)

    def obligations(self, now: datetime) -> Iterator[Obligation]:
        """What the connections ask of the site."""
        for connection in self.connections.values():
            yield from connection.obligations(now)

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
        yield from (f"channel {name}: communication lost" for name, c in self.connections.items() if c.book(now).is_lost(now))
        yield from list(self.remarks)[-1:]

    def close(self) -> None:
        """Stops the lines."""
        for line in self.lines.values():
            line.stop()
        self.lines, self.connections, self._opened = {}, {}, None

    # -- opening --------------------------------------------------------------------------------------------------------------------

    def _open(self, desk: Desk, now: datetime) -> None:
        """The lines of channels.yaml; made anew when it or the enrolments changed. A file that is wrong leaves no line."""
        stamp = self.path.stat().st_mtime if self.path.is_file() else 0.0
        if self._opened is not None and self._opened[0] == stamp and self._opened[1] is desk:
            return
        self.close()
        self._opened = (stamp, desk)
        self._seen, self._asks = {}, {}
        self._reported = {r.body["report"] for r in desk.store.since() if r.kind == "note" and "report" in r.body}
        try:
            file = load_channels(self.path, set(desk.enrolments))
        except ConfigError as error:
            self.remarks.append(f"channels: {error}".splitlines()[0])
            return
        self._connect(file, desk, now)

    def _connect(self, file: ChannelsFile, desk: Desk, now: datetime) -> None:
        sent = list(self._sent_before(now))
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
        for key, raw in look.sent:
            self._note_sent(desk, line, key, raw, now)
        if look.trouble or (not look.heard and not look.is_full):
            return
        connection = self.connections.get(line.channel.id)
        for heard in look.heard:
            self._hear(line, connection, heard, desk, now)
        if connection is not None:
            connection.contact(look.at)
        for event in look.gone:
            self._drop(line, connection, event, desk, now)

    def _hear(self, line: Line, connection: Connection | None, heard: Heard, desk: Desk, now: datetime) -> None:
        """One object. The text that was seen last is not looked at again, except for limits: a loop without end goes on."""
        is_known = self._seen.get(heard.id) == heard.sha256
        self._seen[heard.id] = heard.sha256
        if heard.asks:
            self._asks[heard.id] = heard.asks
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

    def _follow_outage(self, now: datetime) -> None:
        """When the grid is out, and again when it is back: limits are discarded and asked for at once."""
        snapshot = self._mailbox.latest("snapshot", now)
        try:
            standing = [] if snapshot is None else [d["since"] for d in snapshot.body.get("degraded", ()) if d["name"] == OUTAGE]
        except HOSTILE:
            return
        outage = str(standing[0]) if standing else ""
        if snapshot is None or outage == self._was_outage:
            return
        self._was_outage = outage
        self._seen = {}
        for name, connection in self.connections.items():
            connection.outage(now)
            self.lines[name].brought.clear()  # what was told before the grid came back counts no more
            self.lines[name].hint()

    # -- reporting ------------------------------------------------------------------------------------------------------------------

    def _report(self, desk: Desk, now: datetime) -> None:
        figures = OfficeFigures(self._programs.ports, desk, self._mailbox, now)
        for event, asks in self._asks.items():
            line = self.lines.get(event.split(":", 1)[0])
            status = desk.events.get(event)
            version = 0 if status is None else status.event.modification
            for ask in asks if line is not None else ():
                for report in due(ask, version, now):
                    key = f"{event}/{report.key}"
                    if line is None or key in self._reported or not self._is_measured(report, now):
                        continue
                    self._reported.add(key)
                    body = body_of(report, line.channel, figures, event)
                    if body is None:
                        self.remarks.append(f"{event}: a report of {ask.descriptor.get('payloadType')} is not something we have")
                        self._note_sent(desk, line, key, "", now)
                    else:
                        line.hand_in({key: body})

    def _is_measured(self, report: Report, now: datetime) -> bool:
        """True when history holds the last minute of what is reported, or will not any more."""
        start, end = report.ask.intervals[report.last - 1]
        if report.ask.descriptor.get("historical", True) is False or now >= end + METER_LAG:
            return True
        return any(kw is not None for kw in self._programs.ports.minute_kw(max(start, end - MINUTE), end))

    def _note_sent(self, desk: Desk, line: Line, key: str, raw: str, now: datetime) -> None:
        """A report that was taken (or never will be) is written, so that it is not sent again."""
        event = key.split("/", 1)[0]
        known = event if event in desk.events else ""
        desk.note(
            known, {"report": key, "to": f"channel {line.channel.id}", "raw": raw, "why": "report sent" if raw else "report not taken"}, now
        )


def _encoded(row: PriceRow) -> Mapping[str, Any]:
    instants = {"valid_from": row.valid_from, "valid_to": row.valid_to, "available_at": row.available_at}
    return {**{k: v.isoformat() for k, v in instants.items()}, "price_per_kwh": row.price_per_kwh, "source": row.source}
