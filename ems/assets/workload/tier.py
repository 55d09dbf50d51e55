"""What of a tier is used: the work of a class that is missing at the end of the running window of hours, of what its tier allows."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from ems.assets.workload.model import TierPast, WorkloadClass

BUCKET_S = 300.0
MOST_USED = 99.0  # a share beyond says no more
HOUR_S = 3600.0


class TierWindow:
    """Work of one class over the last `tier_window_h` hours, in buckets of five minutes: kWh that arrived, and kWh missing of it (put off,
    throttled or dropped, less what was made up). Times are epoch seconds and never go back."""

    def __init__(self, kind: WorkloadClass) -> None:
        self.loss, self.window_s = kind.tier_loss or 0.0, kind.tier_window_h * HOUR_S
        self._rows: deque[list[float]] = deque()  # number of the bucket, seconds seen, kWh arrived, kWh missing
        self._sums = [0.0, 0.0, 0.0]

    def add(self, at_s: float, seconds: float, arrived_kwh: float, missing_kwh: float) -> None:
        """Takes what came and what is missing of some seconds from `at_s` on."""
        bucket = at_s // BUCKET_S
        if not self._rows or self._rows[-1][0] != bucket:
            self._rows.append([bucket, 0.0, 0.0, 0.0])
            self._forget(at_s)
        for k, value in enumerate((seconds, arrived_kwh, missing_kwh)):
            self._rows[-1][k + 1] += value
            self._sums[k] += value

    def _forget(self, at_s: float) -> None:
        while (self._rows[0][0] + 1.0) * BUCKET_S <= at_s - self.window_s:
            self._rows.popleft()
        self._sums = [sum(row[k] for row in self._rows) for k in (1, 2, 3)]

    @property
    def covered_s(self) -> float:
        """Seconds of the window that were seen."""
        return self._sums[0]

    @property
    def allowed_kwh(self) -> float:
        """What may be missing in the window; hours not seen count as those seen."""
        seconds, arrived_kwh, _ = self._sums
        return self.loss * arrived_kwh * max(1.0, self.window_s / seconds) if seconds > 0.0 else 0.0

    @property
    def used(self) -> float:
        """Share of the tier that is used, 0 to MOST_USED; nothing is used while nothing is missing."""
        missing_kwh = max(0.0, self._sums[2])
        return 0.0 if missing_kwh <= 1e-6 else min(MOST_USED, missing_kwh / max(self.allowed_kwh, 1e-9))

    @property
    def is_spent(self) -> bool:
        """True when nothing more may be missing; a tier that allows nothing always is."""
        return self._sums[1] > 0.0 and self._sums[2] >= self.allowed_kwh

    def past(self, now_s: float) -> TierPast:
        """What arrived and what is missing over the last hours, for a plan."""
        hours, arrived, missing = [0.0], [0.0], [0.0]
        for bucket, _, arrived_kwh, missing_kwh in reversed(self._rows):
            hours.append(max(hours[-1] + 1e-6, (now_s - bucket * BUCKET_S) / HOUR_S))
            arrived.append(arrived[-1] + arrived_kwh)
            missing.append(missing[-1] + missing_kwh)
        return TierPast(tuple(hours), tuple(arrived), tuple(missing))

    def encode(self) -> list[list[float]]:
        """Plain data."""
        return [list(row) for row in self._rows]

    def restore(self, rows: Sequence[Sequence[float]]) -> None:
        """Takes back what `encode` gave. Raises ValueError or TypeError on anything else."""
        found = [[float(value) for value in row] for row in rows]
        if any(len(row) != 4 for row in found):
            raise ValueError("expected buckets of four numbers")
        self._rows = deque(found)
        self._sums = [sum(row[k] for row in self._rows) for k in (1, 2, 3)]
