"""Rolling extremes: what a pulsing load reached in the last seconds is what it may reach again in the next."""

from __future__ import annotations

from collections import deque
from datetime import datetime


class PeakHold:
    """The largest value of the last `window_s` seconds (a monotone queue, O(1) per update)."""

    def __init__(self, window_s: float) -> None:
        self.window_s = window_s
        self._queue: deque[tuple[datetime, float]] = deque()

    def update(self, now: datetime, value: float) -> float:
        """Adds a value and returns the largest of the window."""
        while self._queue and self._queue[-1][1] <= value:
            self._queue.pop()
        self._queue.append((now, value))
        while (now - self._queue[0][0]).total_seconds() > self.window_s:
            self._queue.popleft()
        return self._queue[0][1]


class ValleyHold:
    """The smallest value of the last `window_s` seconds."""

    def __init__(self, window_s: float) -> None:
        self._peak = PeakHold(window_s)

    def update(self, now: datetime, value: float) -> float:
        """Adds a value and returns the smallest of the window."""
        return -self._peak.update(now, -value)


class DayHold:
    """The largest value of the last 24 h, kept as 96 quarter-hour maxima so that it stays small and survives a restart."""

    def __init__(self, buckets: dict[int, float] | None = None) -> None:
        self.buckets: dict[int, float] = dict(buckets or {})

    def update(self, now: datetime, value: float) -> float:
        """Adds a value and returns the largest of the last 24 h (in quarter-hour resolution)."""
        key = int(now.timestamp() // 900)
        if key not in self.buckets:
            self.buckets = {k: v for k, v in self.buckets.items() if key - 96 <= k <= key}
        self.buckets[key] = max(value, self.buckets.get(key, value))
        return max(self.buckets.values())
