"""Control's side of the mailbox: new plans, orders and events, each once, also over a restart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any

from ems.mailbox import Mailbox
from ems.messages import Order
from ems.obligation import Obligation

TOPICS = ("order", "event", "plan", "peak", "contact")
NEWEST = ("plan", "peak")  # of these only the newest counts
PAGE = 50
# What control reads of a message; anything else in it is dropped before it is decided on or journalled: it may be a secret.
KEYS = {
    "order": frozenset(f.name for f in fields(Order)),
    "event": frozenset(f.name for f in fields(Obligation)),
    "contact": frozenset(("source", "at")),
}
ACK_VALID = timedelta(days=1)


class MailboxInbox:
    """An `ems.control.ports.Inbox`. `positions` is what `positions` gave before the restart, {} on a first start.

    Orders and events go on where they were left; the newest valid plan and peaks are taken again: a restart costs no planning period.
    """

    def __init__(self, mailbox: Mailbox, positions: Mapping[str, int]) -> None:
        self._mailbox = mailbox
        self.positions = {topic: int(positions.get(topic, 0)) for topic in TOPICS} | dict.fromkeys(NEWEST, 0)
        self.orders_taken: list[int] = []  # sequences of the orders in the last news, in their order

    def news(self, now: datetime) -> Sequence[tuple[str, dict[str, Any]]]:
        """Valid messages since the last call, orders first; of plans only the newest."""
        found: list[tuple[str, dict[str, Any]]] = []
        self.orders_taken = []
        for topic in TOPICS:
            messages = self._mailbox.since(topic, self.positions[topic], PAGE)
            if messages:
                self.positions[topic] = messages[-1].sequence
            valid = [m for m in messages if m.is_valid(now)]
            if topic == "order":
                self.orders_taken = [m.sequence for m in valid]
            found += [(topic, known(topic, m.body)) for m in (valid[-1:] if topic in NEWEST else valid)]
        return found

    def post(self, topic: str, body: dict[str, Any], now: datetime, valid_until: datetime) -> None:
        """Sends a message; one that cannot be sent in time is given up (the mailbox notes it)."""
        self._mailbox.post(topic, body, now, valid_until)


def known(topic: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a message that control knows how to read; of a plan all of it."""
    return {k: v for k, v in body.items() if topic not in KEYS or k in KEYS[topic]}
