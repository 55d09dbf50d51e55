"""The substation gateway in the office: what it is shown, and what its writes become (limits of a flexible connection, with audit)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from adapters.gateway.map import VERSION
from adapters.gateway.server import Gateway, Written
from ems.mailbox import Mailbox
from ems.office.programs import HOSTILE
from ems.program.channel import GatewayFile
from ems.program.connection import Connection
from ems.program.desk import Desk, Message
from ems.program.envelope import FlexibilityEnvelope
from ems.program.heard import Heard
from ems.signals.capacity import CapacityInterval
from ems.site.model import Site

NAME = "gateway"
OPEN = timedelta(days=365)  # a limit without end: the beat keeps it
UNKNOWN = math.nan
CONTROL_SILENT_S = 10.0
CONTACT_VALID = timedelta(minutes=10)
WINDOWS = {0.25: "down_15min_kw", 1.0: "down_60min_kw", 2.0: "down_120min_kw", 4.0: "down_240min_kw"}


def tell_contact(mailbox: Mailbox, source: str, at: datetime, now: datetime) -> None:
    """Tells the guard that who gives limits was heard."""
    mailbox.post("contact", {"source": source, "at": at.isoformat()}, now, now + CONTACT_VALID)


class GatewayDesk:
    """One gateway of one office."""

    def __init__(self, server: Gateway, site: Site, desk: Desk, mailbox: Mailbox) -> None:
        self.server, self._site, self._desk, self._mailbox = server, site, desk, mailbox
        self.connection = Connection(NAME, server.file.capacity, server.file.program, desk.store)
        self.lease_s = 0.0
        self._held: dict[str, float] = {
            e.split(":", 1)[1]: t.limits[0].kw for e, t in self.connection.told.items() if t.limits and ":" in e
        }
        self._beats = 0
        self._cycle = ""

    @staticmethod
    def started(file: GatewayFile, site: Site, desk: Desk, mailbox: Mailbox, now: Any) -> GatewayDesk:
        """A gateway that listens. DataError when its port is taken."""
        server = Gateway(file, now)
        server.start()
        return GatewayDesk(server, site, desk, mailbox)

    def deliver(self, now: datetime, envelope: FlexibilityEnvelope | None) -> None:
        """Takes what was written, then shows what is known."""
        while self.server.written:
            self._take(self.server.written.popleft(), now)
        if self.lease_s and self._held and self._is_silent(now, self.lease_s):
            self._withdraw("no heartbeat for the lease it asked for", now)
        shown = dict(self._values(now, envelope))
        self.server.values = {name: value for name, value in shown.items() if math.isfinite(value)}  # the others read as NaN

    def close(self) -> None:
        """Stops listening."""
        self.server.stop()

    def _take(self, written: Written, now: datetime) -> None:
        tell_contact(self._mailbox, NAME, written.at, now)
        if written.name == "release":
            self._withdraw("withdrawn by the gateway", now)
        elif written.name == "lease_s":
            self.lease_s = written.value
            self.connection.contact(written.at)
        elif self._held.get(written.name) != written.value:
            raw = json.dumps({"at": written.at.isoformat(), "register": written.name, "kw": written.value})
            self._desk.keep(Message(f"{NAME} {written.name}", raw, None), "taken", f"{written.name} {written.value:g} kW", now)
            limit = CapacityInterval(written.at, written.at + OPEN, written.value)
            self.connection.hear(Heard(f"{NAME}:{written.name}", raw, limits=(limit,)), now)
            self._held[written.name] = written.value
            self.connection.contact(written.at)

    def _withdraw(self, why: str, now: datetime) -> None:
        for name in list(self._held):
            raw = json.dumps({"at": now.isoformat(), "register": name, "withdrawn": why})
            self._desk.keep(Message(f"{NAME} {name}", raw, None), "taken", why, now)
            self.connection.drop(f"{NAME}:{name}", why, now)
        self._held.clear()

    def _is_silent(self, now: datetime, after_s: float) -> bool:
        last = self.connection.last_contact
        return last is None or now - last > timedelta(seconds=after_s)

    def _values(self, now: datetime, envelope: FlexibilityEnvelope | None) -> Iterator[tuple[str, float]]:
        snapshot = self._snapshot(now)
        age_s = (now - datetime.fromisoformat(snapshot["at"])).total_seconds() if snapshot else math.inf
        if snapshot and snapshot["at"] != self._cycle:
            self._cycle, self._beats = snapshot["at"], (self._beats + 1) % 65536
        import_kw = float(snapshot["import_kw"]) if snapshot and snapshot.get("is_metered", True) else UNKNOWN
        limit_kw = float(snapshot["limit_kw"]) if snapshot else UNKNOWN
        ladder = str(snapshot["level"])[-1:] if snapshot else ""
        yield "map_version", VERSION
        yield "heartbeat", self._beats
        yield "ladder", int(ladder) if ladder.isdigit() else 9
        yield "status", self._status(now, age_s)
        yield from (("import_kw", import_kw), ("limit_kw", limit_kw), ("headroom_kw", limit_kw - import_kw))
        yield "age_s", min(age_s, 1e6)
        yield "ramp_kw_per_min", _or_nan(self._site.point_of_connection.ramp_limit_kw_per_min)
        yield "storage_energy_kwh", self._stored_kwh(snapshot)
        yield "accepted_limit_kw", self._held.get("import_limit_kw", UNKNOWN)
        yield "accepted_target_kw", self._held.get("import_target_kw", UNKNOWN)
        yield "fallback_kw", self.connection.subscription_kw(now)
        known = {r.hours: r for r in envelope.reductions} if envelope is not None else {}
        yield from ((name, known[h].kw["p90"] if h in known else UNKNOWN) for h, name in WINDOWS.items())
        yield "response_s", max((r.response_s for r in known.values()), default=UNKNOWN)

    def _status(self, now: datetime, age_s: float) -> int:
        if math.isinf(age_s):
            return 0
        if age_s > CONTROL_SILENT_S:
            return 4
        if self.connection.book(now).is_lost(now):
            return 3
        return 2 if self._held else 1

    def _snapshot(self, now: datetime) -> dict[str, Any]:
        message = self._mailbox.latest("snapshot", now)
        try:
            if message is None or datetime.fromisoformat(message.body["at"]).tzinfo is None:
                return {}
            return {**message.body, "limit_kw": float(message.body["limit_kw"]), "import_kw": float(message.body["import_kw"])}
        except HOSTILE:
            return {}

    def _stored_kwh(self, snapshot: Mapping[str, Any]) -> float:
        energy = {b.id: b.energy_kwh for b in self._site.batteries}
        try:
            rows = [a for a in snapshot.get("assets", ()) if a["id"] in energy]
            return sum(float(a["soc"]) * energy[a["id"]] for a in rows) if len(rows) == len(energy) else UNKNOWN
        except HOSTILE:
            return UNKNOWN


def _or_nan(value: float | None) -> float:
    return UNKNOWN if value is None else value
