"""Point forecasts anyone would make: the newest value, the same time a day or a week ago, a period found in the series itself."""

from __future__ import annotations

import numpy as np

from ems.forecast.protocol import Floats, History, Ints

DAY_S, WEEK_S = 86400.0, 7 * 86400.0
LOOKBACK = 6  # cells searched for the newest finite value
LEAST_CORRELATION = 0.3  # a detected period explains at least this much
RESEARCH_S = 6 * 3600.0  # the period is searched again after so long
MOST_SEARCHED = 4096


class Persistence:
    """The newest known value for every lead; the newest ones' last finite value when it is missing."""

    name = "persistence"

    def __init__(self, leads: Ints) -> None:
        self.leads = leads

    def update(self, history: History) -> Floats:
        return np.full(len(self.leads), newest(history))


class SeasonalNaive:
    """The value one whole number of periods before the target; the newest value where that is not known."""

    def __init__(self, leads: Ints, period_s: float, name: str) -> None:
        self.leads, self.period_s, self.name = leads, period_s, name

    def update(self, history: History) -> Floats:
        return seasonal(history, self.leads, max(1, round(self.period_s / history.step_s)))


class DetectedPeriod:
    """Seasonal naive at the period the series repeats with (1 h to half of what is known), persistence where none is found."""

    name = "period"

    def __init__(self, leads: Ints) -> None:
        self.leads = leads
        self._period, self._searched_at = 0, -(10**12)

    def update(self, history: History) -> Floats:
        if (history.end - self._searched_at) * history.step_s >= RESEARCH_S:
            self._period, self._searched_at = detected_period(history), history.end
        return seasonal(history, self.leads, self._period) if self._period else np.full(len(self.leads), newest(history))


def newest(history: History) -> float:
    """The newest finite value of the last LOOKBACK cells, or of all, NaN without any."""
    values = history.values[-LOOKBACK:]
    finite = values[np.isfinite(values)]
    if not len(finite):
        finite = history.values[np.isfinite(history.values)]
    return float(finite[-1]) if len(finite) else float("nan")


def seasonal(history: History, leads: Ints, period: int) -> Floats:
    """Values `period` cells (or the least multiple that is known) before each target, the newest value where that is unknown."""
    back = period * -(-leads // period)
    values = values_at(history, history.end + leads - 1 - back)
    return np.where(np.isfinite(values), values, newest(history))


def values_at(history: History, cells: Ints) -> Floats:
    """Values of these cells, NaN where unknown."""
    places = cells - history.first
    known = (places >= 0) & (places < len(history.values))
    if not len(history.values):
        return np.full(np.shape(cells), np.nan)
    return np.where(known, history.values[np.where(known, places, 0)], np.nan)


def detected_period(history: History) -> int:
    """The lag in cells with the highest autocorrelation beyond an hour, 0 where none reaches LEAST_CORRELATION."""
    x = history.values[-MOST_SEARCHED:]
    finite = np.isfinite(x)
    shortest = max(2, round(3600.0 / history.step_s))
    if finite.sum() < 4 * shortest or float(np.std(x[finite])) == 0.0:
        return 0
    y = np.where(finite, x - x[finite].mean(), 0.0)
    spectrum = np.abs(np.fft.rfft(y, 2 * len(y))) ** 2
    correlation = np.fft.irfft(spectrum)[: len(y) // 2] / np.arange(len(y), len(y) - len(y) // 2, -1)
    correlation = correlation / correlation[0]
    inner = correlation[shortest:-1]
    peaks = np.flatnonzero((inner[1:-1] >= inner[:-2]) & (inner[1:-1] > inner[2:])) + 1 + shortest
    best = int(peaks[np.argmax(correlation[peaks])]) if len(peaks) else 0
    return best if best and correlation[best] >= LEAST_CORRELATION else 0
