"""Power times time must be the energy counted: a meter whose power and counters tell different stories is named.

A counter that runs backwards or leaps is named at once; a power that is off by scale or sign after some minutes, since counters step.
"""

from __future__ import annotations

from datetime import datetime

LONGEST_GAP_S = 3.0  # power is not integrated over more; the comparison begins anew
LEAST_KWH = 20.0  # integrated before anything is compared
SHARE, SLACK_KWH = 0.15, 1.0  # of the energy: sampling error of a load that jumps every second, and a step of the counter
LEAP = 2.0  # times what the site can move between two readings
LEAP_SLACK_KWH = 2.0


class Counter:
    """Compares the power of one meter with its net energy counter. `most_kw` is more than can flow there."""

    def __init__(self, most_kw: float) -> None:
        self._most_kw = most_kw
        self._last: tuple[datetime, float, float] | None = None  # instant, power, counted
        self._counted = self._power_kwh = self._moved_kwh = 0.0
        self.why = ""
        self.leapt_at: datetime | None = None

    def update(self, at: datetime, kw: float, counted_kwh: float) -> str:
        """Takes a reading; why it cannot be true, "" while it can."""
        last, self._last = self._last, (at, kw, counted_kwh)
        if last is None or at <= last[0]:
            return self.why
        gap_s = (at - last[0]).total_seconds()
        step_kwh = counted_kwh - last[2]
        if abs(step_kwh) > LEAP * self._most_kw * gap_s / 3600.0 + LEAP_SLACK_KWH:
            self._begin()
            self.leapt_at = at
            self.why = f"the energy counters leap by {step_kwh:.0f} kWh in {gap_s:.0f} s"
        elif gap_s > LONGEST_GAP_S:
            self._begin()
        else:
            self._add(0.5 * (kw + last[1]) * gap_s / 3600.0, step_kwh)
        return self.why

    def _add(self, power_kwh: float, step_kwh: float) -> None:
        self._power_kwh += power_kwh
        self._counted += step_kwh
        self._moved_kwh += abs(power_kwh)
        if self._moved_kwh < LEAST_KWH:
            return
        off_kwh = self._power_kwh - self._counted
        is_off = abs(off_kwh) > SHARE * self._moved_kwh + SLACK_KWH
        said = f"power and energy counters contradict each other: {self._power_kwh:.0f} against {self._counted:.0f} kWh"
        self.why = said if is_off else ""
        self._begin()

    def _begin(self) -> None:
        self._counted = self._power_kwh = self._moved_kwh = 0.0
