"""A grid event as every protocol means it: intervals with a number of kW, a priority, a modification, a spread of starts."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from ems.errors import DataError
from ems.obligation import ObligationKind

LOWEST_PRIORITY = 1_000_000
MOST_INTERVALS = 5_000
LONGEST = timedelta(days=31)
FURTHEST = timedelta(days=400)
LARGEST_KW = 5e6

Profile = Literal["openadr-2.0b", "openadr-3", "aggregator", "manual"]


def normalised_priority(value: int | None, profile: Profile) -> int:
    """Our rank, 0 the highest. OpenADR 2.0b: 1 is the highest and 0 means none, the lowest; OpenADR 3: 0 is the highest."""
    if value is None or value < 0:
        return LOWEST_PRIORITY
    if profile == "openadr-2.0b":
        return value - 1 if value > 0 else LOWEST_PRIORITY
    return value


@dataclass(frozen=True)
class EventInterval:
    """`[start, end)` and what is asked in it, in kW at the point of connection."""

    start: datetime
    end: datetime
    kw: float


@dataclass(frozen=True)
class GridEvent:
    """One version of an event. `priority`: 0 the highest. `spread_s`: the start may be shifted by a draw from that range of seconds."""

    id: str
    program: str
    modification: int
    kind: ObligationKind
    intervals: tuple[EventInterval, ...]
    priority: int = LOWEST_PRIORITY
    spread_s: tuple[float, float] = (0.0, 0.0)
    is_cancelled: bool = False
    is_test: bool = False
    price_per_kwh: float | None = None

    @property
    def start(self) -> datetime:
        """Where the first interval begins."""
        return self.intervals[0].start

    @property
    def end(self) -> datetime:
        """Where the last interval ends."""
        return max(i.end for i in self.intervals)

    @property
    def hours(self) -> float:
        """Length of all intervals together."""
        return sum((i.end - i.start).total_seconds() for i in self.intervals) / 3600.0

    def owed_kwh(self, most_kw: float) -> float:
        """kWh to be delivered over all intervals where the one that asks most asks for a reduction of `most_kw`."""
        hours = [(i.end - i.start).total_seconds() / 3600.0 for i in self.intervals]
        if self.kind is ObligationKind.REDUCE_BY:
            return sum(min(i.kw, most_kw) * h for i, h in zip(self.intervals, hours, strict=True))
        lowest_kw = min((i.kw for i in self.intervals), default=0.0)
        return sum(max(0.0, most_kw - (i.kw - lowest_kw)) * h for i, h in zip(self.intervals, hours, strict=True))

    def shifted(self, seconds: float, is_hard: bool) -> GridEvent:
        """The event with its starts shifted by a draw. Of a hard limit only the safe direction is taken: earlier starts, later ends."""
        if not seconds:
            return self
        by = timedelta(seconds=seconds)
        early, late = (min(by, timedelta(0)), max(by, timedelta(0))) if is_hard else (by, by)
        last = len(self.intervals) - 1
        moved = tuple(
            EventInterval(
                i.start + (by if not is_hard else early if n == 0 else timedelta(0)),
                i.end + self._end_shift(n, last, by, late, is_hard),
                i.kw,
            )
            for n, i in enumerate(self.intervals)
        )
        return GridEvent(**{**vars(self), "intervals": moved})

    @staticmethod
    def _end_shift(n: int, last: int, by: timedelta, late: timedelta, is_hard: bool) -> timedelta:
        if not is_hard:
            return by
        return late if n == last else timedelta(0)

    def draw_s(self, site: str) -> float:
        """The one draw of this version for this site: the same whenever it is drawn again."""
        low, high = self.spread_s
        if high <= low:
            return low
        return random.Random(f"{site}|{self.id}|{self.modification}").uniform(low, high)

    def encode(self) -> dict[str, Any]:
        """Plain data."""
        return {
            **vars(self),
            "kind": self.kind.value,
            "spread_s": list(self.spread_s),
            "intervals": [[i.start.isoformat(), i.end.isoformat(), i.kw] for i in self.intervals],
        }

    @staticmethod
    def decode(data: Mapping[str, Any]) -> GridEvent:
        """The event back; raises KeyError, ValueError or TypeError on anything else."""
        intervals = tuple(EventInterval(datetime.fromisoformat(a), datetime.fromisoformat(b), float(kw)) for a, b, kw in data["intervals"])
        low, high = data["spread_s"]
        return GridEvent(**{**data, "kind": ObligationKind(data["kind"]), "intervals": intervals, "spread_s": (low, high)})

    def fingerprint(self) -> str:
        """Equal for equal content."""
        return hashlib.sha256(json.dumps(self.encode(), sort_keys=True).encode()).hexdigest()


def fault_of(event: GridEvent, now: datetime) -> str:
    """What makes an event one that cannot be meant, "" when nothing does."""
    if unreadable(event):
        return unreadable(event)
    for i in event.intervals:
        if i.end <= i.start:
            return f"an interval that ends at {i.end.isoformat()}, not after its start"
        if not 0.0 <= i.kw <= LARGEST_KW:
            return f"{i.kw} kW: expected 0 to {LARGEST_KW:.0f}"
    if event.end - event.start > LONGEST:
        return f"lasts {(event.end - event.start).days} days, at most {LONGEST.days}"
    if event.start - now > FURTHEST:
        return f"begins in {(event.start - now).days} days, at most {FURTHEST.days}"
    low, high = event.spread_s
    if low > high or max(-low, high) > 86400.0:
        return f"a spread of {low} to {high} s"
    return ""


def unreadable(event: GridEvent) -> str:
    """What makes an event one that cannot even be kept, "" when nothing does."""
    if not event.intervals:
        return "no interval"
    numbers = (*(i.kw for i in event.intervals[: MOST_INTERVALS + 1]), *event.spread_s, event.price_per_kwh or 0.0)
    if len(event.intervals) > MOST_INTERVALS:
        return f"{len(event.intervals)} intervals, at most {MOST_INTERVALS}"
    if not all(math.isfinite(v) for v in numbers):
        return "a number that is not finite"
    naive = any(t.tzinfo is None for i in event.intervals for t in (i.start, i.end))
    return "an instant without its offset" if naive else ""


def event_from(data: Mapping[str, Any]) -> GridEvent:
    """An event from plain data of unknown origin; DataError in one line."""
    try:
        return GridEvent.decode(data)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f"event: cannot be read ({type(error).__name__}: {error})") from None
