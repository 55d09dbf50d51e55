"""Carbon intensity of the grid with the instant each value became known, and what to expect. Grams of CO2 per kWh."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from ems.signals.series import Floats, KnownSeries, Row, day_ago, epoch_s, sample_points, step_means

LOW_G, HIGH_G = 0.0, 2000.0
# An average this many times above or below the median of the values before it is a feed fault. Measured on hours of 2022: the faults of
# one operator stand at 1/7, the most solar grid's honest noon at 1/3. Marginal intensity may honestly fall to zero.
JUMP = 5.0
MEDIAN_OF = 24
AVERAGE = "average"
DEVIATION_TAU_H = 6.0


@dataclass(frozen=True, slots=True)
class CarbonRow:
    """One carbon intensity over `[valid_from, valid_to)`, known from `available_at` on."""

    valid_from: datetime
    valid_to: datetime
    available_at: datetime
    carbon_g_per_kwh: float
    source: str = AVERAGE


class CarbonBook:
    """Carbon intensity of one kind (average or marginal, never mixed). A soft signal: no limit depends on it."""

    def __init__(self) -> None:
        self._series = KnownSeries(LOW_G, HIGH_G)
        self._recent: deque[float] = deque(maxlen=MEDIAN_OF)

    def add(self, rows: Iterable[CarbonRow]) -> None:
        """Takes rows in any order; unusable ones are counted in `data_quality`."""
        self._series.add(
            Row(epoch_s(r.valid_from), epoch_s(r.valid_to), epoch_s(r.available_at), r.carbon_g_per_kwh) for r in self._plausible(rows)
        )

    def _plausible(self, rows: Iterable[CarbonRow]) -> Iterable[CarbonRow]:
        for row in rows:
            if row.source != AVERAGE or not self._jumps(row.carbon_g_per_kwh):
                yield row

    def _jumps(self, value: float) -> bool:
        """Counts a value far from the median before it; a lasting change is accepted once it is the median."""
        if not np.isfinite(value):
            return False
        middle = float(np.median(self._recent)) if len(self._recent) == MEDIAN_OF else value
        self._recent.append(value)
        jumps = value * JUMP < middle or value > JUMP * max(middle, 1.0)
        self._series.quality["jump"] += jumps
        return jumps

    def forecast(self, now: datetime, starts: Sequence[datetime], duration_h: Sequence[float]) -> Floats | None:
        """Expected g/kWh, one mean per step, at least 0: known values, else the day before plus the present deviation, decaying; None
        when nothing is known (never zero)."""
        now_s = epoch_s(now)
        known = self._series.known(now_s)
        last = known.last_before(now_s)
        if last is None:
            return None
        points, first = sample_points(starts, duration_h)
        base = day_ago(known, np.append(points, 0.5 * (last.from_s + last.to_s)), now_s, (1, 2))
        base = np.where(np.isnan(base), last.value, base)
        lead_h = np.maximum(0.0, points - last.to_s) / 3600.0
        expected = base[:-1] + (last.value - base[-1]) * np.exp(-lead_h / DEVIATION_TAU_H)
        actual = known.at(points)
        return step_means(np.maximum(np.where(np.isfinite(actual), actual, expected), 0.0), first)  # nobody is paid for what he buys

    def data_quality(self) -> dict[str, int]:
        """Counts of what was wrong with the feed."""
        return self._series.report()
