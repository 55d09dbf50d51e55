"""The billing peak: means of import over the tariff's intervals (aligned to UTC), the highest of each local month."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo


@dataclass
class IntervalPeaks:
    """Takes import energy step by step. A step belongs to the interval it starts in; an interval to the local month it starts in."""

    interval_min: int
    time_zone: str
    peaks_kw: dict[str, float] = field(default_factory=dict)  # "2024-08" -> kW
    _index: int | None = None
    _kwh: float = 0.0
    _seconds: float = 0.0

    def add(self, at_s: float, import_kwh: float, dt_s: float) -> None:
        """One step from `at_s` (seconds since 1970 UTC)."""
        index = int(at_s // (60 * self.interval_min))
        if index != self._index:
            self.close()
            self._index = index
        self._kwh += import_kwh
        self._seconds += dt_s

    def close(self) -> None:
        """Ends the running interval; a part of an interval counts with its own mean."""
        if self._index is not None and self._seconds > 0:
            month = self._month(self._index)
            self.peaks_kw[month] = max(self.peaks_kw.get(month, 0.0), self._kwh / (self._seconds / 3600.0))
        self._kwh = self._seconds = 0.0
        self._index = None

    def start_with(self, at_s: float, peak_so_far_kw: float) -> None:
        """The peak that the month of `at_s` had before the window."""
        if peak_so_far_kw > 0:
            self.peaks_kw[self._month(int(at_s // (60 * self.interval_min)))] = peak_so_far_kw

    def running_kwh(self) -> float:
        """Energy imported so far in the running interval."""
        return self._kwh

    def _month(self, index: int) -> str:
        return datetime.fromtimestamp(index * 60 * self.interval_min, UTC).astimezone(ZoneInfo(self.time_zone)).strftime("%Y-%m")
