"""Market prices with the instant each became known, and the price to expect from what was known at `now`. Money per kWh."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from ems.signals.series import SAMPLE_S, Floats, KnownSeries, Row, View, day_ago, epoch_s, sample_points, step_means

DAY_AHEAD = "day_ahead"  # `source` of a day-ahead price; any other source is a real-time price
REAL_TIME = "real_time"
LOW_PER_KWH, HIGH_PER_KWH = -2.0, 20.0  # no market we know settles outside; beyond is a feed fault
# What is left of the last known real-time minus day-ahead spread, by layers of its size: (up to per kWh, share, fades with hours).
# Small spreads last, spikes do not: ERCOT hub 2024 without 30 June-9 July and 15-27 August, mean absolute error of the next 15 min
# 6.6 USD/MWh against 12.8 for day-ahead alone, after 2 h 10.8 against 12.8.
SPREAD_LAYERS = ((0.02, 0.95, 4.0), (0.10, 0.9, 1.5), (HIGH_PER_KWH, 0.5, 0.5))
# High day-ahead prices carry a risk premium: same data, above 80 USD/MWh about 0.55 of the excess came true.
PREMIUM_FROM_PER_KWH, PREMIUM_SHARE_TRUE = 0.08, 0.55
STALE_S = 6 * 3600.0  # a real-time price older than this says nothing about the spread
PROFILE_DAYS = (1, 2, 7)
REAL_TIME_BASIS, DAY_AHEAD_BASIS = "real time known", "day-ahead"  # what a forecast rests on, see PriceBook.basis
FORECAST_BASIS = "forecast"  # of a source that has learnt from enough prices


@dataclass(frozen=True, slots=True)
class PriceRow:
    """One price over `[valid_from, valid_to)`, known from `available_at` on."""

    valid_from: datetime
    valid_to: datetime
    available_at: datetime
    price_per_kwh: float
    source: str = REAL_TIME


class PriceBook:
    """All price rows of a site. `forecast` sees only rows with `available_at <= now`; `actual` is for accounting."""

    NOTHING_KNOWN = "declared fallback price"

    def __init__(self, fallback_per_kwh: float = 0.05) -> None:
        self.fallback_per_kwh = fallback_per_kwh  # when no price at all is known; counted, never zero
        self.steps_on_fallback = 0
        self._day_ahead = KnownSeries(LOW_PER_KWH, HIGH_PER_KWH)
        self._real_time = KnownSeries(LOW_PER_KWH, HIGH_PER_KWH)

    def add(self, rows: Iterable[PriceRow]) -> None:
        """Takes rows in any order; unusable ones are counted in `data_quality`."""
        rows = list(rows)
        self._day_ahead.add(_row(r) for r in rows if r.source == DAY_AHEAD)
        self._real_time.add(_row(r) for r in rows if r.source != DAY_AHEAD)

    def forecast(self, now: datetime, starts: Sequence[datetime], duration_h: Sequence[float]) -> Floats:
        """Expected price per kWh, one mean per step, from what was known at `now`.

        Known real-time price where there is one; else day-ahead (else its profile of earlier days, else that of real time, else the
        last price, else the declared fallback) plus the last known spread of real time above it, decaying.
        """
        now_s = epoch_s(now)
        points, first = sample_points(starts, duration_h)
        real = self._real_time.known(now_s)
        last = real.last_before(now_s)
        probe = np.append(points, now_s if last is None else 0.5 * (last.from_s + last.to_s))
        base = self._base(probe, now_s, real, last)
        expected = base[:-1] + _spread(points, now_s, last, float(base[-1]))
        known = real.at(points)
        return step_means(np.where(np.isfinite(known), known, expected), first)

    def _base(self, points: Floats, now_s: float, real: View, last: Row | None) -> Floats:
        day_ahead = self._day_ahead.known(now_s)
        base = _without_premium(day_ahead.at(points))
        if np.isnan(base).any():
            base = _filled(base, _without_premium(day_ago(day_ahead, points, np.inf, PROFILE_DAYS)))
        if np.isnan(base).any():
            base = _filled(base, day_ago(real, points, now_s, PROFILE_DAYS))
        missing = np.isnan(base)
        if missing.any():
            self.steps_on_fallback += int(last is None)
            base[missing] = self.fallback_per_kwh if last is None else last.value
        return base

    def real_time_cells(self, now: datetime, step_s: float, cells: int, through_running: bool = False) -> Floats:
        """Mean real-time price per cell of `step_s` of epoch time, the newest `cells` that ended by `now` (or up to the running one, whose
        price may be known when it begins), NaN where none is known."""
        end_s = (epoch_s(now) // step_s + through_running) * step_s
        parts = max(1, round(step_s / SAMPLE_S))
        points = end_s + step_s * (np.arange(-cells, 0)[:, None] + (np.arange(parts) + 0.5) / parts)
        means: Floats = self._real_time.known(epoch_s(now)).at(points).mean(axis=1)
        return means

    def is_known(self, now: datetime, starts: Sequence[datetime], duration_h: Sequence[float]) -> NDArray[np.bool_]:
        """Per step, whether its real-time price was known at `now` throughout."""
        points, first = sample_points(starts, duration_h)
        known: NDArray[np.bool_] = np.isfinite(step_means(self._real_time.known(epoch_s(now)).at(points), first))
        return known

    def basis(self, now: datetime, starts: Sequence[datetime], duration_h: Sequence[float]) -> tuple[str, ...]:
        """Per step, what `forecast` rests on at the step's beginning, in its order."""
        now_s = epoch_s(now)
        points, first = sample_points(starts, duration_h)
        begin = points[first]
        real, day_ahead = self._real_time.known(now_s), self._day_ahead.known(now_s)
        known = {
            REAL_TIME_BASIS: real.at(begin),
            DAY_AHEAD_BASIS: day_ahead.at(begin),
            "day-ahead profile of earlier days": day_ago(day_ahead, begin, np.inf, PROFILE_DAYS),
            "profile of earlier days": day_ago(real, begin, now_s, PROFILE_DAYS),
        }
        rest = self.NOTHING_KNOWN if real.last_before(now_s) is None else "last known price"
        return tuple(np.select([np.isfinite(v) for v in known.values()], list(known), rest).tolist())

    def actual(self, start: datetime) -> float | None:
        """The real-time price (else the day-ahead one) that holds at `start`, None when there is none. For accounting only."""
        point = np.array([epoch_s(start)])
        for series in (self._real_time, self._day_ahead):
            value = float(series.whole().at(point)[0])
            if np.isfinite(value):
                return value
        return None

    def data_quality(self) -> dict[str, int]:
        """Counts of what was wrong with the feeds, by feed."""
        feeds = {"day_ahead": self._day_ahead, "real_time": self._real_time}
        counts = {f"{name}_{what}": n for name, series in feeds.items() for what, n in series.report().items()}
        return {**counts, "forecasts_on_fallback": self.steps_on_fallback}


def day_ahead_known_at(valid_from: datetime, known_at: time, time_zone: str) -> datetime:
    """When the day-ahead price of an interval is published: `known_at` local on the day before its local delivery day."""
    zone = ZoneInfo(time_zone)
    day: date = valid_from.astimezone(zone).date() - timedelta(days=1)
    return datetime.combine(day, known_at, zone)


def _row(row: PriceRow) -> Row:
    return Row(epoch_s(row.valid_from), epoch_s(row.valid_to), epoch_s(row.available_at), row.price_per_kwh)


def _filled(values: Floats, other: Floats) -> Floats:
    return np.where(np.isnan(values), other, values)


def _spread(points: Floats, now_s: float, last: Row | None, base_then: float) -> Floats:
    """What the last real-time price says above the base, decaying with the time since it ended."""
    if last is None or now_s - last.to_s > STALE_S:
        return np.zeros(len(points))
    lead_h = np.maximum(0.0, points - last.to_s) / 3600.0
    left, inner, total = last.value - base_then, 0.0, np.zeros(len(points))
    for outer, share, tau_h in SPREAD_LAYERS:
        part = min(max(left, -(outer - inner)), outer - inner)
        total += part * share * np.exp(-lead_h / tau_h)
        left, inner = left - part, outer
    return total


def _without_premium(day_ahead: Floats) -> Floats:
    expected: Floats = np.where(
        day_ahead > PREMIUM_FROM_PER_KWH,
        PREMIUM_FROM_PER_KWH + PREMIUM_SHARE_TRUE * (day_ahead - PREMIUM_FROM_PER_KWH),
        day_ahead,
    )
    return expected
