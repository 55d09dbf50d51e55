"""Rows of one feed on their way to the planner: each is posted once its time of publication has come."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from adapters.feeds.kinds import FeedRow, Kind
from ems.mailbox import Mailbox

ROWS_PER_MESSAGE = 500
MEMORY = timedelta(days=8)  # rows older than this teach the planner nothing


class Outbox:
    """`post_due` sends what is due and keeps the rest. `newest` is the posted row that covers the latest present."""

    def __init__(self, kind: Kind, mailbox: Mailbox, counts: Counter[str]) -> None:
        self.kind, self.mailbox, self.counts = kind, mailbox, counts
        self.newest: FeedRow | None = None
        self._waiting: list[FeedRow] = []

    def put(self, row: FeedRow) -> None:
        """Takes a row that is to be posted when it is due."""
        self._waiting.append(row)

    def post_due(self, now: datetime) -> int:
        """Posts rows whose time of publication has come; how many. Rows the mailbox did not take are sent next time."""
        due = [r for r in self._waiting if r.available_at <= now]
        useful = [r for r in due if r.valid_to > now - MEMORY]
        for part in (useful[i : i + ROWS_PER_MESSAGE] for i in range(0, len(useful), ROWS_PER_MESSAGE)):
            body = {"rows": [r.encode(self.kind) for r in part]}
            if self.mailbox.post(self.kind.topic, body, now, now + MEMORY) is None:
                return 0
            self.counts["posted"] += len(part)
        self._waiting = [r for r in self._waiting if r.available_at > now]
        self.newest = max([*useful, *([self.newest] if self.newest else [])], key=lambda r: (r.valid_to, r.available_at), default=None)
        return len(useful)

    def go_back(self, now: datetime) -> None:
        """The clock was set back: a posted row that is known only from an instant to come is not the newest."""
        if self.newest is not None and self.newest.available_at > now:
            self.newest = None

    def shown(self, name: str, origin: str, fetched_at: datetime | None, is_stale: bool, problem: str | None) -> dict[str, Any]:
        """The feed as plain data for `ems status` and the page."""
        newest = self.newest
        return {
            "name": name,
            "kind": f"{newest.source} {self.kind.topic}" if newest else self.kind.topic,
            "from": origin,
            "fetched_at": fetched_at.isoformat() if fetched_at else None,
            "valid_to": newest.valid_to.isoformat() if newest else None,
            "value": newest.value if newest else None,
            "unit": self.kind.value,
            "is_stale": is_stale,
            "problem": problem,
        }
