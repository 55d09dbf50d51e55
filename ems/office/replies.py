"""What a head-end is told: reports that its events ask for, whether the site takes part, telemetry. Each once, also over a restart."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from datetime import datetime, timedelta

from adapters.openadr3.reports import Report, body_of, due
from ems.mailbox import Mailbox
from ems.office.figures import OfficeFigures
from ems.office.lines import Line
from ems.office.meter import HalfMinutes, floor_to
from ems.office.programs import METER_LAG, Programs
from ems.program.desk import Desk
from ems.program.heard import Ask, Heard, Look, Telemetry
from ems.program.states import State
from ems.program.status import EventStatus

MINUTE = timedelta(minutes=1)
TELEMETRY_LAG, MINUTES_LAG = timedelta(seconds=2), timedelta(seconds=90)  # until the last means are there
TELEMETRY_KEPT, TELEMETRY_NOTED = timedelta(hours=24), timedelta(minutes=15)
ROWS_AT_ONCE = 120


class Replies:
    """What is owed to the head-ends of one office."""

    def __init__(self, programs: Programs, mailbox: Mailbox) -> None:
        self.meter = HalfMinutes(programs.ports.minute_kw)
        self._programs, self._mailbox = programs, mailbox
        self._asks: dict[str, tuple[Ask, ...]] = {}  # by our event id
        self._answers: dict[str, Heard] = {}  # what wants an answer, by our id
        self._reported: set[str] = set()
        self._telemetry: dict[str, Telemetry] = {}  # by channel
        self._metered_until: dict[str, datetime] = {}  # what was handed in
        self._noted_until: dict[str, datetime] = {}

    def resume(self, desk: Desk) -> None:
        """What was told already, from the store."""
        notes = [r.body for r in desk.store.since() if r.kind == "note"]
        self._asks, self._answers = {}, {}
        self._reported = {n["report"] for n in notes if "report" in n}
        self._metered_until = {n["telemetry"]: datetime.fromisoformat(n["until"]) for n in notes if "telemetry" in n}

    def remember(self, heard: Heard) -> None:
        """What an object asks to be told."""
        if heard.asks:
            self._asks[heard.id] = heard.asks
        if heard.answer is not None:
            self._answers[heard.id] = heard

    def take(self, line: Line, look: Look, desk: Desk, now: datetime) -> None:
        """What a line has handed in, and the telemetry its head-end wants."""
        for key, raw in look.sent:
            self._note_sent(desk, line, key, raw, now)
        if look.telemetry is not None:
            self._telemetry[line.channel.id] = look.telemetry

    def hand_in(self, lines: Mapping[str, Line], desk: Desk, now: datetime, remarks: deque[str]) -> None:
        """Everything that is due."""
        for line in lines.values():
            self._hand_in_telemetry(line, now)
        self._report(lines, desk, now, remarks)
        self._answer(lines, desk)

    def _report(self, lines: Mapping[str, Line], desk: Desk, now: datetime, remarks: deque[str]) -> None:
        figures = OfficeFigures(self._programs.ports, desk, self._mailbox, now)
        for event, asks in self._asks.items():
            line = lines.get(event.split(":", 1)[0])
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
                        remarks.append(f"{event}: a report of {ask.descriptor.get('payloadType')} is not something we have")
                        self._note_sent(desk, line, key, "", now)
                    else:
                        line.hand_in({key: body})

    def _answer(self, lines: Mapping[str, Line], desk: Desk) -> None:
        """Tells a head-end that wants to know whether the site takes part, once per version and once more when that changes."""
        for event, heard in self._answers.items():
            line, status = lines.get(event.split(":", 1)[0]), desk.events.get(event)
            opt = opt_of(heard, status)
            if line is None or not opt or heard.answer is None:
                continue
            base = f"{event}/{heard.answer['modification_number']}/{heard.answer.get('registration', '')}/opt"
            key = f"{base}/{opt}"
            if key not in self._reported:
                is_changed = any(k.startswith(f"{base}/") for k in self._reported)
                self._reported.add(key)
                line.hand_in({key: {**heard.answer, "opt": opt, "changed": is_changed}})

    def _hand_in_telemetry(self, line: Line, now: datetime) -> None:
        """Means since the last time, whole steps; what a head-end that is down misses waits in the line, what we missed comes late."""
        wanted = self._telemetry.get(line.channel.id)
        if wanted is None:
            return
        lag = TELEMETRY_LAG if wanted.interval_s < 60 else MINUTES_LAG
        until = floor_to(now - lag, wanted.interval_s)
        since = self._metered_until.get(line.channel.id, until - timedelta(seconds=wanted.every_s))
        since = max(since, until - TELEMETRY_KEPT)
        if until - since < timedelta(seconds=wanted.every_s):
            return
        rows = list(self.meter.rows(since, until, wanted.interval_s))
        self._metered_until[line.channel.id] = until
        for n in range(0, len(rows), ROWS_AT_ONCE):
            part = rows[n : n + ROWS_AT_ONCE]
            line.hand_in({f"{line.channel.id}/telemetry/{part[0][0].isoformat()}": {"rows": part}})

    def _note_telemetry(self, desk: Desk, line: Line, key: str, now: datetime) -> None:
        """How far the head-end has our telemetry, written now and then: after a restart it goes on from there."""
        until = datetime.fromisoformat(key.rsplit("/", 1)[1])
        if until - self._noted_until.get(line.channel.id, until - TELEMETRY_NOTED) >= TELEMETRY_NOTED:
            self._noted_until[line.channel.id] = until
            desk.note("", {"telemetry": line.channel.id, "until": until.isoformat()}, now)

    def _is_measured(self, report: Report, now: datetime) -> bool:
        """True when history holds the last minute of what is reported, or will not any more."""
        start, end = report.ask.intervals[report.last - 1]
        if report.ask.descriptor.get("historical", True) is False or now >= end + METER_LAG:
            return True
        return any(kw is not None for kw in self._programs.ports.minute_kw(max(start, end - MINUTE), end))

    def _note_sent(self, desk: Desk, line: Line, key: str, raw: str, now: datetime) -> None:
        """A report that was taken (or never will be) is written, so that it is not sent again."""
        if "/telemetry/" in key:
            self._note_telemetry(desk, line, key, now)
            return
        event = key.split("/", 1)[0]
        known = event if event in desk.events else ""
        desk.note(
            known, {"report": key, "to": f"channel {line.channel.id}", "raw": raw, "why": "report sent" if raw else "report not taken"}, now
        )


def opt_of(heard: Heard, status: EventStatus | None) -> str:
    """optIn or optOut as 2.0b says it; "" while it is not decided. What asks nothing of the site but to know is taken part in."""
    if heard.problem or (heard.event is not None and status is None):
        return "optOut"
    if heard.event is None or heard.event.is_cancelled:
        return "optIn"
    assert status is not None
    if status.event.modification != heard.event.modification:
        return "optOut"  # this version was refused
    if status.state in (State.REJECTED, State.EXPIRED):
        return "optOut"
    return {"in": "optIn", "partial": "optIn", "out": "optOut"}.get(status.opt, "")
