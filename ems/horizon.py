"""The steps a plan is made for: fine then coarse, anchored on absolute time, always the same number of steps."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True)
class Horizon:
    """N steps `[starts[i], starts[i] + duration_h[i])`, contiguous; aware UTC."""

    starts: tuple[datetime, ...]
    duration_h: tuple[float, ...]

    @property
    def n(self) -> int:
        """Number of steps."""
        return len(self.starts)

    @property
    def end(self) -> datetime:
        """The instant the last step ends."""
        return self.starts[-1] + timedelta(hours=self.duration_h[-1])

    def index_at(self, now: datetime) -> int | None:
        """The step that holds `now`, None outside the horizon."""
        if not self.starts or now < self.starts[0] or now >= self.end:
            return None
        low, high = 0, len(self.starts) - 1
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.starts[middle] <= now else (low, middle - 1)
        return low
