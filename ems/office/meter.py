"""Means of the import over half minutes, from the cycles the office sees; longer ago and longer intervals come from history."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

BIN_S = 30
KEPT = 2880  # bins: a day
FULL = 0.5  # share of a bin between its first and last cycle from which its mean is called good

Row = tuple[datetime, float, float, str]  # start, seconds, kW, quality (ok or estimated)
Minutes = Callable[[datetime, datetime], Sequence[float | None]]


class HalfMinutes:
    """`add` every cycle seen; `rows` gives means over multiples of half a minute."""

    def __init__(self, minutes: Minutes) -> None:
        self._minutes = minutes
        self._bins: dict[int, tuple[float, int, float, float]] = {}  # sum, count, first and last second
        self._last: datetime | None = None

    def add(self, at: datetime, kw: float) -> None:
        """One cycle; the same one twice counts once."""
        if self._last is not None and at <= self._last:
            return
        self._last = at
        second = at.timestamp()
        total, count, first, _ = self._bins.get(int(second // BIN_S), (0.0, 0, second, second))
        self._bins[int(second // BIN_S)] = (total + kw, count + 1, first, second)
        while len(self._bins) > KEPT:
            del self._bins[next(iter(self._bins))]

    def rows(self, start: datetime, end: datetime, step_s: float) -> Iterator[Row]:
        """What is known of `[start, end)`; intervals of which nothing is known are left out."""
        step = timedelta(seconds=step_s)
        while start + step <= end:
            row = self._row(start, step_s)
            if row is not None:
                yield row
            start += step

    def _row(self, start: datetime, step_s: float) -> Row | None:
        first = int(start.timestamp() // BIN_S)
        found = [self._bins.get(first + n) for n in range(int(step_s // BIN_S))]
        if all(b is not None and b[3] - b[2] >= FULL * BIN_S for b in found):
            means = [b[0] / b[1] for b in found if b is not None]
            return start, step_s, sum(means) / len(means), "ok"
        minute = start.replace(second=0, microsecond=0)
        known = [kw for kw in self._minutes(minute, start + timedelta(seconds=max(step_s, 60.0))) if kw is not None]
        if known:
            return start, step_s, max(0.0, sum(known) / len(known)), "ok" if step_s % 60 == 0 and start == minute else "estimated"
        seen = [b for b in found if b is not None]
        return (start, step_s, sum(b[0] / b[1] for b in seen) / len(seen), "estimated") if seen else None


def floor_to(at: datetime, step_s: float) -> datetime:
    """The last multiple of a step of the day before an instant."""
    return datetime.fromtimestamp(at.timestamp() // step_s * step_s, UTC)
