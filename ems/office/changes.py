"""What changed from one journalled cycle to the next, as rows of history. The journal keeps every cycle; history keeps the turns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Table

from ems.history.tables import alarm_change, grid_event, level_change, person_order, setpoint_change
from ems.journal.entry import Entry

CHANGE_KW = 5.0  # a setpoint that moves less is the same one; the journal has the rest
TEXT_LIMIT = 500

Row = tuple[Table, dict[str, Any]]


class Changes:
    """Follows one journal. `memory` is what the next entry is compared with; it goes into the mark."""

    def __init__(self, journal: str, memory: Mapping[str, Any]) -> None:
        self._journal = journal
        self._setpoints: dict[str, list[Any]] = dict(memory.get("setpoints", {}))
        self._level: list[str] = list(memory.get("level", []))
        self._alarms: list[str] = list(memory.get("alarms", []))

    @property
    def memory(self) -> dict[str, Any]:
        """What must survive until the next entry, as plain data."""
        return {"setpoints": self._setpoints, "level": self._level, "alarms": self._alarms}

    def rows(self, entry: Entry) -> Iterator[Row]:
        """The rows of one entry of kind `cycle`."""
        stamp = {"journal": self._journal, "sequence": entry.sequence, "at": entry.at}
        body = entry.body
        yield from self._level_rows(stamp, body)
        yield from self._setpoint_rows(stamp, body)
        yield from self._alarm_rows(stamp, body)
        yield from _news_rows(stamp, body)

    def _level_rows(self, stamp: dict[str, Any], body: Mapping[str, Any]) -> Iterator[Row]:
        level = [str(body["level"]), str(body["cause"])]
        if level[:1] != self._level[:1]:
            yield level_change, {**stamp, "level": level[0], "cause": level[1]}
        self._level = level

    def _setpoint_rows(self, stamp: dict[str, Any], body: Mapping[str, Any]) -> Iterator[Row]:
        for asset, command, kw, reason, is_written in body["setpoints"]:
            key = f"{asset} {command}"
            before = self._setpoints.get(key)
            if before is None or abs(kw - before[0]) >= CHANGE_KW or is_written != before[1]:
                self._setpoints[key] = [kw, is_written]
                yield setpoint_change, {**stamp, "asset": asset, "command": command, "kw": kw, "reason": reason, "is_written": is_written}

    def _alarm_rows(self, stamp: dict[str, Any], body: Mapping[str, Any]) -> Iterator[Row]:
        alarms = list(dict.fromkeys(str(a)[:TEXT_LIMIT] for a in body["alarms"]))
        for text in alarms:
            if text not in self._alarms:
                yield alarm_change, {**stamp, "text": text, "is_raised": True}
        for text in self._alarms:
            if text not in alarms:
                yield alarm_change, {**stamp, "text": text, "is_raised": False}
        self._alarms = alarms


def _news_rows(stamp: dict[str, Any], body: Mapping[str, Any]) -> Iterator[Row]:
    orders = [news for topic, news in body["news"] if topic == "order"]
    for position, order in enumerate(orders):
        named = {"kind": order.get("kind"), "asset": order.get("asset"), "given_by": order.get("by"), "why": order.get("why")}
        known = {key: None if value is None else str(value)[:TEXT_LIMIT] for key, value in named.items()}
        known["kind"], known["asset"] = (known["kind"] or "")[:20], (known["asset"] or "")[:80]
        yield person_order, {**stamp, "position": position, **known, "body": order}
    for topic, event in body["news"]:
        if topic == "event":
            yield grid_event, {"id": str(event.get("id"))[:200], "at": stamp["at"], "body": event}
