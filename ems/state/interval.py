"""The energy imported in the running billing interval, and the month's highest interval mean, as the utility meter sees them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

LONGEST_BRIDGE_S = 60.0  # a gap longer than this is not bridged by holding the last power


class IntervalMeter:
    """Adds up import from power readings, on intervals aligned with 00:00 UTC. A power reading holds until the next one."""

    def __init__(self, interval_min: int, time_zone: str) -> None:
        self.interval_s = interval_min * 60
        self.zone = ZoneInfo(time_zone)
        self.start: datetime | None = None
        self.energy_kwh = 0.0
        self.covered_s = 0.0
        self.month = ""
        self.peak_kw = 0.0
        self._last: tuple[datetime, float] | None = None

    def update(self, now: datetime, import_kw: float) -> None:
        """Takes the import in kW (never negative) true from `now` on."""
        if self._last is not None:
            self._add(self._last[0], min(now, self._last[0] + timedelta(seconds=LONGEST_BRIDGE_S)), self._last[1])
        self._enter(now)
        self._last = (now, import_kw)

    def _add(self, begin: datetime, end: datetime, kw: float) -> None:
        while begin < end:
            self._enter(begin)
            assert self.start is not None
            stop = min(end, self.start + timedelta(seconds=self.interval_s))
            seconds = (stop - begin).total_seconds()
            self.energy_kwh += kw * seconds / 3600
            self.covered_s += seconds
            begin = stop

    def _enter(self, now: datetime) -> None:
        seconds = int(now.timestamp()) // self.interval_s * self.interval_s
        start = datetime.fromtimestamp(seconds, UTC)
        if start == self.start:
            return
        self._close()
        self.start, self.energy_kwh, self.covered_s = start, 0.0, 0.0
        month = start.astimezone(self.zone).strftime("%Y-%m")
        if month != self.month:
            self.month, self.peak_kw = month, 0.0

    def _close(self) -> None:
        """An interval that was seen for less than half is not taken for a peak: it is an estimate of nothing."""
        if self.start is not None and self.covered_s >= 0.5 * self.interval_s:
            self.peak_kw = max(self.peak_kw, self.energy_kwh / self.covered_s * 3600)

    def remaining_s(self, now: datetime) -> float:
        """Seconds left in the running interval."""
        return self.interval_s if self.start is None else self.interval_s - (now - self.start).total_seconds()

    def allowed_kw(self, now: datetime, mean_kw: float) -> float:
        """The mean power in kW that may still flow in the rest of the interval so that its mean stays at `mean_kw`.

        The last minute is treated as a minute, so that a few kWh of error do not become a huge power.
        """
        if self.start is None:
            return mean_kw
        seen_s = (now - self.start).total_seconds()
        energy_kwh = self.energy_kwh + (seen_s - self.covered_s) * mean_kw / 3600  # unseen seconds count as the allowed mean
        return (mean_kw * self.interval_s / 3600 - energy_kwh) * 3600 / max(60.0, self.remaining_s(now))

    def encode(self) -> dict[str, Any]:
        """Plain data that survives a restart."""
        return {
            "start": self.start.isoformat() if self.start else None,
            "energy_kwh": self.energy_kwh,
            "covered_s": self.covered_s,
            "month": self.month,
            "peak_kw": self.peak_kw,
        }

    def restore(self, data: dict[str, Any]) -> None:
        """Takes back what `encode` gave."""
        self.start = datetime.fromisoformat(data["start"]) if data["start"] else None
        self.energy_kwh, self.covered_s = data["energy_kwh"], data["covered_s"]
        self.month, self.peak_kw = data["month"], data["peak_kw"]
