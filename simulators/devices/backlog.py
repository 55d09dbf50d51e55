"""Deferred work as a queue of energy, first in, first due."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

BUCKET_S = 300.0  # dues are rounded down to this grid: at most five minutes strict, never lenient
NOTHING_KWH = 1e-9


class Backlog:
    """IT energy in kWh that waits, in buckets of equal due time (epoch seconds)."""

    __slots__ = ("_buckets", "kwh")

    def __init__(self) -> None:
        self._buckets: deque[list[float]] = deque()  # [due, kWh], due ascending
        self.kwh = 0.0

    @property
    def first_due_s(self) -> float | None:
        """When the oldest work is due, None when nothing waits."""
        return self._buckets[0][0] if self._buckets else None

    def add(self, kwh: float, due_s: float) -> None:
        """Adds work; dues must not go backwards (they are clipped to the last one)."""
        due_s = due_s // BUCKET_S * BUCKET_S
        self.kwh += kwh
        if self._buckets and self._buckets[-1][0] >= due_s:
            self._buckets[-1][1] += kwh
        else:
            self._buckets.append([due_s, kwh])

    def take(self, kwh: float) -> float:
        """Removes up to `kwh` from the oldest bucket and returns how much it was."""
        bucket = self._buckets[0]
        taken = min(kwh, bucket[1])
        bucket[1] -= taken
        if bucket[1] <= NOTHING_KWH:
            taken += bucket[1]
            self._buckets.popleft()
        self.kwh = self.kwh - taken if self._buckets else 0.0
        return taken

    def drop_before(self, at_s: float) -> float:
        """Removes and returns the work due before an instant."""
        dropped = 0.0
        while self._buckets and self._buckets[0][0] < at_s:
            dropped += self._buckets.popleft()[1]
        self.kwh = self.kwh - dropped if self._buckets else 0.0
        return dropped

    def due_within(self, at_s: float, hours: Sequence[float]) -> list[float]:
        """Energy due within each of the ascending hours from `at_s`, cumulative."""
        sums, total, buckets, i = [], 0.0, iter(self._buckets), 0
        bucket = next(buckets, None)
        for i in range(len(hours)):
            end_s = at_s + hours[i] * 3600.0
            while bucket is not None and bucket[0] <= end_s:
                total += bucket[1]
                bucket = next(buckets, None)
            sums.append(total)
        return sums
