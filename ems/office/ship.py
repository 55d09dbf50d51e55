"""Ships what control and planner said into history: minutes and plans from the mailbox, decisions and orders from the journal.

Each step reads on from its mark, writes rows and the new mark in one transaction, and may be repeated: nothing is lost that the mailbox
or the journal still holds, nothing is doubled.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, select, update

from ems.errors import EmsError
from ems.history.billing import account
from ems.history.tables import asset_minute, class_minute, person_order, plan, site_minute
from ems.history.write import put, put_new, read_mark, write_mark
from ems.journal.entry import Entry
from ems.mailbox import Mailbox, Message
from ems.messages import MinuteFrame
from ems.office.changes import Changes
from ems.office.journal_tail import JournalTail
from ems.plan.plan import decode_plan
from ems.site.model import Site

MAILBOX = "mailbox"
PAGE = 500  # messages or entries per transaction
PAGES_AT_ONCE = 8  # per run of the job
HOSTILE = (EmsError, KeyError, TypeError, ValueError, AttributeError, IndexError)


class Shipper:
    """One site's way into history. `refused` counts messages and entries that were not what they should be."""

    def __init__(self, site: Site, state_dir: Path, mailbox: Mailbox, engine: Engine) -> None:
        self._site, self._mailbox, self._engine = site, mailbox, engine
        self._tail = JournalTail(state_dir)
        self.refused = 0
        self.rows = 0

    @property
    def damage(self) -> Sequence[str]:
        """Journal entries that could not be read."""
        return self._tail.damage

    def ship(self, now: datetime) -> int:
        """Everything new, up to a bound per call; the number of rows. Raises SQLAlchemyError or DataError."""
        rows = sum(self._ship_mailbox(topic, now) for topic in ("minute", "plan")) + self._ship_journal(now)
        self.rows += rows
        return rows

    def _ship_mailbox(self, topic: str, now: datetime) -> int:
        rows = 0
        for _ in range(PAGES_AT_ONCE):
            with self._engine.begin() as connection:
                messages = self._mailbox.since(topic, self._resumed(topic, *read_mark(connection, topic, MAILBOX)), PAGE)
                if not messages:
                    break
                rows += self._put_minutes(connection, messages) if topic == "minute" else self._put_plans(connection, messages)
                write_mark(connection, topic, MAILBOX, messages[-1].sequence, {"written_at": messages[-1].written_at.isoformat()}, now)
        return rows

    def _resumed(self, topic: str, position: int, memory: Mapping[str, Any]) -> int:
        """The position to read on from: the mark while its message is still there and the same, else the beginning (the mailbox was
        replaced, or went on too far without us). Reading anew doubles nothing."""
        found = self._mailbox.since(topic, position - 1, 1)
        is_same = bool(found) and found[0].sequence == position and found[0].written_at.isoformat() == memory.get("written_at")
        return position if is_same else 0

    def _put_minutes(self, connection: Connection, messages: Sequence[Message]) -> int:
        tables: dict[Table, dict[tuple[Any, ...], dict[str, Any]]] = defaultdict(dict)
        for message in messages:
            try:
                rows = list(minute_rows(MinuteFrame.decode(message.body)))
            except HOSTILE:
                self.refused += 1
                continue
            for table, row in rows:
                tables[table][tuple(row[c.name] for c in table.primary_key)] = row
        count = sum(put(connection, table, list(rows.values())) for table, rows in tables.items())
        measured = [row["start"] for row in tables[site_minute].values() if row["poc_kw"] is not None]
        account(connection, measured, self._site.tariff.demand_interval_min, self._site.time_zone)
        return count

    def _put_plans(self, connection: Connection, messages: Sequence[Message]) -> int:
        rows = {}
        for message in messages:
            try:
                row = plan_row(message.body)
            except HOSTILE:
                self.refused += 1
                continue
            rows[row["hash"]] = row
        return put_new(connection, plan, list(rows.values()))

    def _ship_journal(self, now: datetime) -> int:
        identity, rows = self._tail.identity(), 0
        if identity is None:
            return 0
        for _ in range(PAGES_AT_ONCE):
            with self._engine.begin() as connection:
                position, memory = read_mark(connection, "journal", identity)
                entries = self._tail.read(position, PAGE)
                if not entries:
                    break
                changes = Changes(identity, memory)
                rows += self._put_entries(connection, identity, changes, entries)
                write_mark(connection, "journal", identity, entries[-1].sequence, changes.memory, now)
        return rows

    def _put_entries(self, connection: Connection, journal: str, changes: Changes, entries: Sequence[Entry]) -> int:
        tables: dict[Table, list[Mapping[str, Any]]] = defaultdict(list)
        for entry in entries:
            try:
                for table, row in changes.rows(entry) if entry.kind == "cycle" else ():
                    tables[table].append(row)
            except HOSTILE:
                self.refused += 1
        count = sum(put(connection, table, rows) for table, rows in tables.items())
        for entry in entries:
            if entry.kind == "order":
                _answer(connection, journal, entry)
        return count


def minute_rows(frame: MinuteFrame) -> list[tuple[Table, dict[str, Any]]]:
    """The rows of one minute; an asset of which nothing was measured has none."""
    if frame.start.tzinfo is None:
        raise ValueError("a minute without a time zone")
    start = frame.start
    rows: list[tuple[Table, dict[str, Any]]] = []
    site = {"start": start, "poc_kw": frame.poc_kw, "outdoor_temp_c": frame.outdoor_temp_c, "tokens": frame.tokens}
    rows.append((site_minute, site))
    for asset in {**frame.asset_kw, **frame.demand_kw, **frame.soc}:
        known = {"power_kw": frame.asset_kw.get(asset), "demand_kw": frame.demand_kw.get(asset), "soc": frame.soc.get(asset)}
        if any(v is not None for v in known.values()):
            rows.append((asset_minute, {"asset": asset, "start": start, **known}))
    for asset, classes in frame.class_demand_kw.items():
        named = [(name, kw) for name, kw in classes.items() if kw is not None]
        rows += [(class_minute, {"asset": asset, "class_name": name, "start": start, "demand_kw": kw}) for name, kw in named]
    return rows


def plan_row(body: dict[str, Any]) -> dict[str, Any]:
    """The row of an encoded plan; its hash is the plan's own."""
    decoded = decode_plan(body)
    return {
        "hash": hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16],
        "made_at": decoded.made_at,
        "valid_until": decoded.valid_until,
        "peak_kw": decoded.peak_kw,
        "objective": decoded.objective,
        "status": decoded.status[:40],
        "body": body,
    }


def _answer(connection: Connection, journal: str, entry: Entry) -> None:
    """Gives control's answer to the oldest order before it that has none: answers come in the order of the orders."""
    t = person_order.c
    waiting = (
        select(t.sequence, t.position)
        .where(t.journal == journal, t.answer.is_(None), t.sequence < entry.sequence)
        .order_by(t.sequence, t.position)
        .limit(1)
    )
    found = connection.execute(waiting).one_or_none()
    if found is not None:
        same = (t.journal == journal) & (t.sequence == found.sequence) & (t.position == found.position)
        connection.execute(update(person_order).where(same).values(answer=str(entry.body.get("answer"))))
