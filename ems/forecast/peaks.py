"""How high the load will go within the next seconds and minutes: quantiles of the peak and of the steepest rise, learnt from itself.

Three anchors per window: the newest value, the highest value of the hold (the last 15 minutes: what ran before runs again), and the mean of
the last minutes (arrivals: the newest count says little). Each carries the quantiles of its own past misses `peak − anchor`, the mean's in
units of the spread around it; the three are mixed per level by their recent pinball loss.
A window is learnt from when it is over. The result may only raise a headroom above a measured peak-hold, never lower it (`held_kw`).
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from ems.forecast.protocol import Floats

WINDOWS_S = (10.0, 60.0, 300.0, 900.0)
LEVELS = (0.5, 0.9, 0.95, 0.99)
HOLD_S, MEAN_S = 900.0, 300.0
LEAST_SPREAD = 0.005  # of the rating: the unit of the mean's misses on a load that does not move
KEPT = 1000  # misses per window and anchor
ASSUMED = 24  # misses assumed before any is known, replaced first
ASSUMED_SHARE = 0.05  # their size, of the rating
STRIDES = 4  # a window is begun this often in its own length
RATE, LEAST = 0.01, 0.02  # of the mixture's weights per window; no anchor falls below the least
# Of the assumed size, by which a level moves that held more or less often than promised (online conformal). This and RATE were chosen on
# the first two thirds of the runs and arrivals.
TRACKING = 0.05
LEVEL_ARRAY = np.array(LEVELS)


@dataclass(frozen=True)
class PeakForecast:
    """`peaks_kw[level, window]` of LEVELS: the highest step mean of the window; `ramps_kw_per_s` its steepest rise between two steps."""

    made_at: datetime
    windows_s: tuple[float, ...]
    peaks_kw: Floats
    ramps_kw_per_s: Floats

    def peak_kw(self, window_s: float, level: float = 0.95) -> float:
        """One quantile; raises ValueError for a window or level that was not forecast."""
        return float(self.peaks_kw[LEVELS.index(level), self.windows_s.index(window_s)])

    def held_kw(self, window_s: float, measured_hold_kw: float, level: float = 0.95) -> float:
        """What a guard may keep free: its own measured peak-hold, or more."""
        return max(measured_hold_kw, self.peak_kw(window_s, level))


class PeakForecaster:
    """Takes the mean of every step of `step_s` seconds. Memory is bounded; an observation costs tens of microseconds."""

    def __init__(self, rating_kw: float, windows_s: tuple[float, ...] = WINDOWS_S, step_s: float = 1.0) -> None:
        self.rating_kw, self.step_s = rating_kw, step_s
        self.windows_s = tuple(w for w in windows_s if w >= step_s)
        self._windows = [_Window(max(1, round(w / step_s)), rating_kw) for w in self.windows_s]
        self._recent: deque[float] = deque(maxlen=max(2, round(HOLD_S / step_s)))

    def observe(self, mean_kw: float | None) -> None:
        """The mean of the next step; None where nothing was measured: what is in progress is given up, nothing is learnt from the gap."""
        if mean_kw is None or not math.isfinite(mean_kw):
            self.restart(keep_hold=True)
            return
        rise = mean_kw - self._recent[-1] if self._recent else 0.0
        self._recent.append(mean_kw)
        anchors = self._anchors()
        for window in self._windows:
            window.observe(mean_kw, rise, anchors)

    def restart(self, keep_hold: bool = False) -> None:
        """Begins anew after a gap or with another machine; what was learnt stays."""
        if not keep_hold:
            self._recent.clear()
        for window in self._windows:
            window.forget()

    def forecast(self, now: datetime) -> PeakForecast:
        """Quantiles from what was observed until `now`; the rating where nothing was."""
        shape = (len(LEVELS), len(self.windows_s))
        if not self._recent:
            return PeakForecast(now, self.windows_s, np.full(shape, self.rating_kw), np.full(shape, self.rating_kw / self.step_s))
        anchors = self._anchors()
        peaks = np.stack([w.peaks(anchors) for w in self._windows], axis=1)
        ramps = np.stack([w.ramps() for w in self._windows], axis=1) / self.step_s
        return PeakForecast(now, self.windows_s, np.maximum.accumulate(peaks, axis=1), np.maximum.accumulate(ramps, axis=1))

    def _anchors(self) -> Floats:
        """`[place, unit]` of the newest value, the hold and the mean of the last minutes."""
        values = np.fromiter(self._recent, dtype=float)
        near = values[-max(2, round(MEAN_S / self.step_s)) :]
        spread = max(float(near.std()), LEAST_SPREAD * self.rating_kw)
        return np.array([[values[-1], 1.0], [values.max(), 1.0], [near.mean(), spread]])


class _Window:
    """Learns the misses of one window length in steps."""

    def __init__(self, steps: int, rating_kw: float) -> None:
        self._steps, self._every, self._rating = steps, max(1, steps // STRIDES), rating_kw
        self._misses = [_Sample(rating_kw * ASSUMED_SHARE), _Sample(rating_kw * ASSUMED_SHARE), _Sample(1.0)]
        self._ramps = _Sample(rating_kw * ASSUMED_SHARE)
        self._weights = np.full((len(LEVELS), len(self._misses)), 1.0 / len(self._misses))
        self._offset, self._ramp_offset = np.zeros(len(LEVELS)), np.zeros(len(LEVELS))
        self._open: deque[_Begun] = deque()
        self._count = 0

    def observe(self, kw: float, rise: float, anchors: Floats) -> None:
        """One step: it belongs to every window in progress; a window of full length is learnt from."""
        for begun in self._open:
            begun.peak, begun.rise = max(begun.peak, kw), max(begun.rise, rise)
        self._count += 1
        if self._open and self._count - self._open[0].at >= self._steps:
            self._learn(self._open.popleft())
        if self._count % self._every == 0:
            self._open.append(_Begun(self._count, anchors, self.peaks(anchors), self.ramps()))

    def forget(self) -> None:
        self._open.clear()

    def peaks(self, anchors: Floats) -> Floats:
        """One value per level, between the newest value and the rating."""
        newest = float(anchors[0, 0])
        mixed: Floats = (self._weights * self._each(anchors)).sum(axis=1) + self._offset
        return np.clip(np.maximum.accumulate(mixed), newest, max(self._rating, newest))

    def ramps(self) -> Floats:
        """The steepest rise per step, one value per level, never negative."""
        return np.maximum.accumulate(np.maximum(self._ramps.quantiles() + self._ramp_offset, 0.0))

    def _each(self, anchors: Floats) -> Floats:
        """`[level, anchor]`."""
        misses = np.stack([sample.quantiles() for sample in self._misses], axis=1)
        each: Floats = anchors[:, 0] + anchors[:, 1] * misses
        return each

    def _learn(self, begun: _Begun) -> None:
        each = self._each(begun.anchors)
        mixed = (self._weights * each).sum(axis=1)
        step = TRACKING * self._rating * ASSUMED_SHARE
        self._offset += step * (LEVEL_ARRAY - (begun.peak <= begun.said))
        self._ramp_offset += step * (LEVEL_ARRAY - (begun.rise <= begun.said_rise))
        pull = (LEVEL_ARRAY - (begun.peak <= mixed))[:, None] * (each - mixed[:, None]) / (self._rating * ASSUMED_SHARE)
        moved = self._weights * np.exp(np.clip(RATE * pull / (1.0 - LEVEL_ARRAY)[:, None], -1.0, 1.0))
        moved = np.maximum(moved / moved.sum(axis=1, keepdims=True), LEAST)
        self._weights = moved / moved.sum(axis=1, keepdims=True)
        for sample, (place, unit) in zip(self._misses, begun.anchors, strict=True):
            sample.add((begun.peak - place) / unit)
        self._ramps.add(begun.rise)


@dataclass
class _Begun:
    """A window in progress: where it began, its anchors, what was said then, the highest value and rise so far."""

    at: int
    anchors: Floats
    said: Floats
    said_rise: Floats
    peak: float = -math.inf
    rise: float = -math.inf


class _Sample:
    """The newest KEPT numbers and their upper quantiles, a short memory reading further out (conformal)."""

    def __init__(self, assumed: float) -> None:
        self._values = np.full(KEPT, np.nan)
        self._values[:ASSUMED] = assumed * -np.log1p(-(np.arange(ASSUMED) + 0.5) / ASSUMED)
        self._next, self._count = 0, ASSUMED
        self._quantiles: Floats | None = None

    def add(self, value: float) -> None:
        self._values[self._next] = value
        self._next = (self._next + 1) % KEPT
        self._count = max(self._count, self._next if self._next else KEPT)
        self._quantiles = None

    def quantiles(self) -> Floats:
        if self._quantiles is None:
            place = np.clip(LEVEL_ARRAY * (self._count + 1) - 1.0, 0, self._count - 1)
            self._quantiles = np.interp(place, np.arange(self._count), np.sort(self._values)[: self._count])
        return self._quantiles
