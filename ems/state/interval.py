"""The energy imported in the running billing interval, and the month's highest interval mean, as the utility meter sees them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

LONGEST_BRIDGE_S = 60.0  # a gap longer than this is not bridged by holding the last power
LONGEST_GAP_S = 7 * 86400.0  # nor one longer than this by the meter's count
MAKE_UP_S, ANSWER_S = 60.0, 15.0  # what flowed too little, and too much, is made good over at least so long
MOST_OF_PEAK = 2.0  # times the highest import seen: a count that says more was reset or belongs to another meter


class IntervalMeter:
    """Adds up import from power readings, on intervals aligned with 00:00 UTC.

    Between two readings the later one counts: what a cycle orders acts as soon as it has read. The earlier one would be wrong by a whole
    cycle where storage turns round at the start of an interval (at a cycle of a minute by 45 kW of 1,250 in the interval's mean).
    """

    def __init__(self, interval_min: int, time_zone: str, known_peaks_kw: Mapping[str, float] | None = None) -> None:
        """`known_peaks_kw`: what was metered before, by month (`2024-08`): a site that is taken over in the middle of one."""
        self.interval_s = interval_min * 60
        self.known_peaks_kw = known_peaks_kw or {}
        self.zone = ZoneInfo(time_zone)
        self.start: datetime | None = None
        self.energy_kwh = 0.0
        self.covered_s = 0.0
        self.month = ""
        self.peak_kw = 0.0
        self._last: tuple[datetime, float] | None = None
        self._counted_kwh: float | None = None  # by the meter, at the last reading
        self._highest_kw = 0.0  # import ever held

    def update(self, now: datetime, import_kw: float, counted_kwh: float | None = None, is_metered: bool = True) -> None:
        """Takes the import in kW (never negative) at `now`, and the meter's own count of imported energy, where it has one.

        A gap that is too long to be bridged by a reading is filled from the count, evenly; without one the last power holds for as long as
        a reading bridges. So it does before an import that is not `is_metered`: a worst case assumed now says nothing of what was before.
        """
        if self._last is not None:
            begin, kw = self._last
            gap_kw = self._gap_kw(now, counted_kwh)
            bridged = begin + timedelta(seconds=LONGEST_BRIDGE_S)
            if gap_kw is not None:
                self._add(begin, now, gap_kw)
            else:
                self._add(begin, min(now, bridged), import_kw if is_metered and now <= bridged else kw)
        self._enter(now)
        self._last = (now, import_kw)
        self._counted_kwh = counted_kwh if counted_kwh is not None else self._counted_kwh

    def _gap_kw(self, now: datetime, counted_kwh: float | None) -> float | None:
        """The mean import over a long gap by the meter's count; None where there is no such gap or no such count."""
        assert self._last is not None
        gap_s = (now - self._last[0]).total_seconds()
        if not LONGEST_BRIDGE_S < gap_s <= LONGEST_GAP_S or counted_kwh is None or self._counted_kwh is None:
            return None
        kw = (counted_kwh - self._counted_kwh) * 3600.0 / gap_s
        return kw if 0.0 <= kw <= MOST_OF_PEAK * max(self._highest_kw, self._last[1]) else None

    def _add(self, begin: datetime, end: datetime, kw: float) -> None:
        while begin < end:
            self._enter(begin)
            assert self.start is not None
            stop = min(end, self.start + timedelta(seconds=self.interval_s))
            seconds = (stop - begin).total_seconds()
            self.energy_kwh += kw * seconds / 3600
            self._highest_kw = max(self._highest_kw, kw)
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
            self.month, self.peak_kw = month, self.known_peaks_kw.get(month, 0.0)

    def _close(self) -> None:
        """An interval that was seen for less than half is not taken for a peak: it is an estimate of nothing."""
        if self.start is not None and self.covered_s >= 0.5 * self.interval_s:
            self.peak_kw = max(self.peak_kw, self.energy_kwh / self.covered_s * 3600)

    def remaining_s(self, now: datetime) -> float:
        """Seconds left in the running interval."""
        return self.interval_s if self.start is None else self.interval_s - (now - self.start).total_seconds()

    def allowed_kw(self, now: datetime, mean_kw: float) -> float:
        """The mean power in kW that may still flow in the rest of the interval so that its mean stays at `mean_kw`; unseen seconds count as
        that mean.

        What flowed too much or too little is made good over the rest, at the end over no less than some seconds: a few kWh must not become
        a huge power. The mean itself may always flow.
        """
        if self.start is None:
            return mean_kw
        left_kwh = mean_kw * self.covered_s / 3600 - self.energy_kwh
        return mean_kw + left_kwh * 3600 / max(MAKE_UP_S if left_kwh > 0.0 else ANSWER_S, self.remaining_s(now))

    def encode(self) -> dict[str, Any]:
        """Plain data that survives a restart."""
        return {
            "start": self.start.isoformat() if self.start else None,
            "energy_kwh": self.energy_kwh,
            "covered_s": self.covered_s,
            "month": self.month,
            "peak_kw": self.peak_kw,
            "last": [self._last[0].isoformat(), self._last[1]] if self._last else None,
            "counted_kwh": self._counted_kwh,
            "highest_kw": self._highest_kw,
        }

    def restore(self, data: dict[str, Any]) -> None:
        """Takes back what `encode` gave."""
        self.start = datetime.fromisoformat(data["start"]) if data["start"] else None
        self.energy_kwh, self.covered_s = data["energy_kwh"], data["covered_s"]
        self.month, self.peak_kw = data["month"], max(data["peak_kw"], self.known_peaks_kw.get(data["month"], 0.0))
        self._counted_kwh, self._highest_kw = data.get("counted_kwh"), data.get("highest_kw", 0.0)
        last = data.get("last")
        self._last = (datetime.fromisoformat(last[0]), last[1]) if last else None
