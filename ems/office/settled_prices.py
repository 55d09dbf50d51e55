"""The market prices that an indexed payment is settled at: means over the programme's intervals of what the feeds brought."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from ems.mailbox import Mailbox
from ems.program.measure import settlement_interval_min
from ems.program.terms import Terms
from ems.signals.prices import PriceBook, PriceRow
from ems.timegrid import interval_start

SAMPLE = timedelta(minutes=5)
MOST_MESSAGES = 10_000
HOSTILE = (KeyError, TypeError, ValueError, AttributeError)


def settled_prices(mailbox: Mailbox, terms: Terms, start: datetime, end: datetime) -> dict[datetime, float]:
    """Price per kWh by interval start over `[start, end)`, {} where the programme pays no indexed price. An interval of which a part has no
    known price is left out: it is not settled."""
    if not any(p.price == "indexed" for p in terms.payments):
        return {}
    book = PriceBook()
    book.add(_rows(m.body for m in mailbox.since("prices", 0, MOST_MESSAGES)))
    length = timedelta(minutes=settlement_interval_min(terms))
    found: dict[datetime, float] = {}
    at = interval_start(start, int(length.total_seconds()))
    while at < end:
        parts = [book.actual(at + n * SAMPLE) for n in range(max(1, length // SAMPLE))]
        known = [p for p in parts if p is not None]
        if len(known) == len(parts):
            found[at] = sum(known) / len(known)
        at += length
    return found


def _rows(bodies: Iterable[Mapping[str, object]]) -> Iterator[PriceRow]:
    """Rows that can be read; the rest is the feed's business."""
    for body in bodies:
        rows = body.get("rows")
        for row in rows if isinstance(rows, list) else ():
            try:
                instants = {k: datetime.fromisoformat(row[k]) for k in ("valid_from", "valid_to", "available_at")}
                yield PriceRow(**{**row, **instants})
            except HOSTILE:
                continue
