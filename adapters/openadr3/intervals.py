"""The intervals of an event as instants: inheritance, sentinels, joining late, looping, truncation, packed values, no end.

An interval takes start and duration from the event's `intervalPeriod` where it has none of its own. Without a start it begins where the
durations before it add up to; with the sentinel it begins where the one before it ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from adapters.openadr3.times import Span, instant_from, is_sentinel, later, span_from
from ems.errors import DataError

MOST_SLOTS = 5_000
PACKED = ("PRICE", "EXPORT_PRICE", "GHG")  # several values split their interval; the other types with several values are no series


@dataclass(frozen=True)
class Slot:
    """`[start, end)` and its values by payload type; `end` None: no end."""

    start: datetime
    end: datetime | None
    values: Mapping[str, tuple[Any, ...]]


def resolved(event: Mapping[str, Any], issued_at: datetime, until: datetime) -> tuple[Slot, ...]:
    """The slots of an event in the order of its intervals, a loop up to `until`. `issued_at` is what the sentinel "now" means: an instant
    that is the same whenever the event is looked at. DataError in one line where the event cannot be meant."""
    period = _object(event.get("intervalPeriod"), "intervalPeriod")
    start = _start(period, issued_at)
    slots = list(_inherited(event, period, start, issued_at))
    asked = event.get("duration")
    if not slots or asked is None:
        return tuple(slots)
    span = span_from(asked, "duration")
    if span.is_nothing:  # the schema's default, which some servers write out
        return tuple(slots)
    return tuple(_over(slots, start or slots[0].start, span, until))


def is_withdrawn(event: Mapping[str, Any]) -> bool:
    """True for an event that was rewritten to begin now and last no time: there is no verb for cancelling."""
    period = event.get("intervalPeriod")
    if not isinstance(period, Mapping) or not is_sentinel(period.get("start")):
        return False
    given = [d for d in (period.get("duration"), event.get("duration")) if d is not None]
    return bool(given) and all(span_from(d, "duration").is_nothing for d in given)


def spread_of(event: Mapping[str, Any]) -> float:
    """Seconds by which the start may be shifted either way, 0 where it may not."""
    period = _object(event.get("intervalPeriod"), "intervalPeriod")
    first = next(iter(_intervals(event)), {})
    own = _object(first.get("intervalPeriod"), "intervalPeriod")
    given = own.get("randomizeStart") or period.get("randomizeStart")
    span = span_from(given, "randomizeStart") if given is not None else Span()
    if span.is_open or span.months or span.seconds > 86400.0:
        raise DataError(f"randomizeStart = {given}: expected at most a day")
    return span.seconds


def unpacked(slot: Slot) -> Iterator[Slot]:
    """One slot per packed value of a price or emission series; others as they are."""
    for name, values in slot.values.items():
        if name not in PACKED or len(values) <= 1:
            yield replace(slot, values={name: values})
            continue
        if slot.end is None:
            raise DataError(f"{name}: {len(values)} values in an interval without end")
        step = (slot.end - slot.start) / len(values)
        for n, value in enumerate(values):
            yield Slot(slot.start + n * step, slot.end if n == len(values) - 1 else slot.start + (n + 1) * step, {name: (value,)})


def _inherited(event: Mapping[str, Any], period: Mapping[str, Any], start: datetime | None, issued_at: datetime) -> Iterator[Slot]:
    before: datetime | None = None
    passed = Span()
    for n, interval in enumerate(_intervals(event)):
        own = _object(interval.get("intervalPeriod"), f"intervals[{n}].intervalPeriod")
        length = span_from(own.get("duration") or period.get("duration") or event.get("duration"), f"intervals[{n}] duration")
        begin = _begin(n, own, start, passed, before, issued_at)
        before = later(begin, length)
        passed = passed + length
        yield Slot(begin, before, _values(interval, n))


def _begin(n: int, own: Mapping[str, Any], start: datetime | None, passed: Span, before: datetime | None, issued_at: datetime) -> datetime:
    given = own.get("start")
    if given is not None and not is_sentinel(given):
        return instant_from(given, f"intervals[{n}].intervalPeriod.start")
    if given is not None and n > 0:
        if before is None:
            raise DataError(f"intervals[{n}]: begins after an interval without end")
        return before
    if given is not None:
        return start or issued_at
    if start is None:
        raise DataError(f"intervals[{n}]: has no start, nor has the event")
    begin = later(start, passed)
    if begin is None:
        raise DataError(f"intervals[{n}]: begins after an interval without end")
    return begin


def _over(slots: list[Slot], start: datetime, span: Span, until: datetime) -> Iterator[Slot]:
    """The slots cut at the event's end, or again and again until then. Loops that are over are left out by arithmetic."""
    end = later(start, span)
    if any(s.end is None for s in slots):
        yield from _cut(slots, end)
        return
    last = max(s.end for s in slots if s.end is not None)
    length = last - start
    stop = until if end is None else min(end, max(until, last))
    if stop <= last or length <= timedelta(0):
        yield from _cut(slots, end)
        return
    turns = -(-(stop - start) // length)
    first = max(0, turns - MOST_SLOTS // len(slots))
    for turn in range(first, turns):
        moved = [Slot(s.start + turn * length, (s.end or last) + turn * length, s.values) for s in slots]
        yield from _cut(moved, end if end is not None else stop)


def _cut(slots: list[Slot], end: datetime | None) -> Iterator[Slot]:
    for s in slots:
        if end is None or (s.end is not None and s.end <= end):
            yield s
        elif s.start < end:
            yield replace(s, end=end)


def _start(period: Mapping[str, Any], issued_at: datetime) -> datetime | None:
    given = period.get("start")
    if given is None:
        return None
    return issued_at if is_sentinel(given) else instant_from(given, "intervalPeriod.start")


def _values(interval: Mapping[str, Any], n: int) -> dict[str, tuple[Any, ...]]:
    payloads = interval.get("payloads")
    if not isinstance(payloads, list) or not all(isinstance(p, Mapping) and isinstance(p.get("values"), list) for p in payloads):
        raise DataError(f"intervals[{n}].payloads: expected a list of type and values")
    return {str(p.get("type")): tuple(p["values"]) for p in payloads}


def _intervals(event: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = event.get("intervals") or []
    if not isinstance(found, list) or not all(isinstance(i, Mapping) for i in found):
        raise DataError("intervals: expected a list")
    if len(found) > MOST_SLOTS:
        raise DataError(f"{len(found)} intervals, at most {MOST_SLOTS}")
    return found


def _object(value: Any, key: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise DataError(f"{key}: expected an object")
    return value
