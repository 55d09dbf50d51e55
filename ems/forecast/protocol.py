"""What a forecast is and what every forecaster does: `update(history known at now) -> Forecast`. For load, prices, carbon, weather alike.

How to build one: take a `History` (a regular grid of cells, NaN where nothing is known), look at nothing else, return a `Forecast` for
the leads the forecaster was built with. A forecaster remembers which cells it has learnt from (`history.end` of its last update), so that
an update costs the new cells and not the whole history; a history that begins later, or jumps, is learnt from where it stands.

How quantiles are made honest: `ems.forecast.conformal.Conformal(inner)` is a Forecaster too. It keeps what `inner` issued, compares it
with the cells that came true and moves each level of each group of leads on its own (asymmetric) until it holds as often as promised.
A marked estimate is never learnt from; while cells are estimates or missing the quantiles widen (`History.missing_recently`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.intp]

LEVELS = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
LEVEL_ARRAY = np.array(LEVELS)
MEDIAN = LEVELS.index(0.5)


@dataclass(frozen=True)
class History:
    """What is known of one series at an instant: `values[i]` is the mean over cell `first + i`, `[c step_s, (c + 1) step_s)` of epoch time.

    NaN where nothing is known. `is_estimate[i]`: the value was rejected by a validator (or never came) and stands in for the truth;
    it may be looked at as a lag and is never learnt from as a target. All values are known by the end of the newest cell.
    """

    step_s: float
    first: int
    values: Floats
    is_estimate: Bools
    time_zone: str = "UTC"

    @property
    def end(self) -> int:
        """The number of the first cell that is not known; lead 1 of a forecast."""
        return self.first + len(self.values)

    @property
    def known_at(self) -> datetime:
        """The instant of this information set: the end of its newest cell."""
        return datetime.fromtimestamp(self.end * self.step_s, UTC)

    def target(self, cell: int) -> float:
        """The value to learn from, NaN where missing, estimated or outside."""
        i = cell - self.first
        return float(self.values[i]) if 0 <= i < len(self.values) and not self.is_estimate[i] else float("nan")

    def missing_recently(self, cells: int) -> float:
        """Share of the newest `cells` that is missing or estimated; 1 for an empty history."""
        values, estimate = self.values[-cells:], self.is_estimate[-cells:]
        return float(np.mean(~np.isfinite(values) | estimate)) if len(values) else 1.0

    def until(self, cell: int) -> History:
        """The same history as it was known before `cell` (a view)."""
        n = max(0, cell - self.first)
        return replace(self, values=self.values[:n], is_estimate=self.is_estimate[:n])


def history_of(values: Floats, step_s: float, first: int = 0, time_zone: str = "UTC") -> History:
    """A history of these values, none an estimate."""
    array = np.asarray(values, dtype=float)
    return History(step_s, first, array, np.zeros(len(array), dtype=bool), time_zone)


@dataclass(frozen=True)
class Forecast:
    """Quantiles of one series: `values[level, lead]`, the value not exceeded with the probability `LEVELS[level]`; they never cross.

    `leads[j]` counts cells ahead: lead 1 is the first cell not known at `made_at`. `source` names the forecaster, `reason` why a
    fallback served (empty: none did). Not to be used after `valid_until`.
    """

    made_at: datetime
    valid_until: datetime
    source: str
    step_s: float
    leads: Ints
    values: Floats
    reason: str = ""
    alarms: tuple[str, ...] = field(default=())

    def q(self, level: float) -> Floats:
        """One value per lead; levels between the stored ones are interpolated; raises ValueError outside 0.01 … 0.99."""
        if not LEVELS[0] <= level <= LEVELS[-1]:
            raise ValueError(f"a forecast has the levels {LEVELS[0]} to {LEVELS[-1]}, not {level}")
        high = int(np.searchsorted(LEVEL_ARRAY, level - 1e-12))
        if abs(LEVELS[high] - level) < 1e-9:
            return self.values[high]
        share = (level - LEVELS[high - 1]) / (LEVELS[high] - LEVELS[high - 1])
        between: Floats = (1.0 - share) * self.values[high - 1] + share * self.values[high]
        return between

    def at(self, starts_s: Floats, duration_h: Floats) -> Floats:
        """Quantiles `[level, step]` of steps given by their epoch seconds and lengths in hours: by the lead of the step's middle, linear
        between leads, constant beyond the last. A step before the first lead takes the first."""
        begin = np.asarray(starts_s, dtype=float)
        middle = (begin + np.asarray(duration_h, dtype=float) * 1800.0 - self.made_at.timestamp()) / self.step_s + 0.5
        return interpolate(self.values, self.leads.astype(float), middle)


class Forecaster(Protocol):
    """One way of forecasting one series. Deterministic: the same histories give the same forecasts."""

    name: str
    leads: Ints

    def update(self, history: History) -> Forecast:
        """Learns from the cells that are new since the last update and forecasts from the end of the history. Never raises for bad
        data: it answers with what it can and says so in `reason`; NaN where it has nothing to say (the ensemble and the wrapper then
        use the others or the fallback)."""
        ...


def interpolate(values: Floats, at: Floats, wanted: Floats) -> Floats:
    """Columns of `values[..., at]` at the places `wanted`, linear, constant outside."""
    place = np.interp(wanted, at, np.arange(len(at), dtype=float))
    low = np.minimum(place.astype(np.intp), max(0, len(at) - 2))
    high = np.minimum(low + 1, len(at) - 1)
    share = place - low
    between: Floats = values[..., low] * (1.0 - share) + values[..., high] * share
    return between


def uncrossed(values: Floats) -> Floats:
    """Quantiles `[level, …]` with every level at or above the one below it (sorted, which never raises any pinball loss sum)."""
    ordered: Floats = np.sort(values, axis=0)
    return ordered


def issue(history: History, source: str, leads: Ints, values: Floats, valid_cells: int = 12, reason: str = "") -> Forecast:
    """The forecast made at the end of a history, valid for `valid_cells` cells."""
    made_at = history.known_at
    until = datetime.fromtimestamp((history.end + valid_cells) * history.step_s, UTC)
    return Forecast(made_at, until, source, history.step_s, leads, uncrossed(values), reason)
