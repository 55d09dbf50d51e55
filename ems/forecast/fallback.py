"""What is said when nothing else can be: a forecaster that needs no model, and a guard that falls back to it and names why."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from ems.forecast.naive import DAY_S
from ems.forecast.protocol import LEVEL_ARRAY, MEDIAN, Floats, Forecast, Forecaster, History, Ints, issue

LEAST_CELLS = 12  # known values below which the models are not asked
STALE_S = DAY_S  # without a known value for so long nothing is expected of the models
SHORT = "history shorter than a day"
CONSTANT_WIDTH = 0.05  # of the level, each way, at q01 and q99: a constant series is not certain to stay so
GROWTH_PER_DAY = 0.5  # of the spread, by which the width grows with the age of the newest value


class Fallback:
    """The level and spread of what is known, wider the older it is; `low … high` where nothing is known and both are finite.

    Reasons: `no history`, `history shorter than …`, `no value for …` (a day of refused values), `constant`, `time zone … is not known`.
    """

    name = "fallback"

    def __init__(self, leads: Ints, low: float = 0.0, high: float = np.inf) -> None:
        self.leads, self.low, self.high = leads, low, high

    def update(self, history: History) -> Forecast:
        """Quantiles of the last week's values around the newest, with the reason for serving."""
        known = known_values(history)
        if not len(known):
            return issue(history, self.name, self.leads, self._unknown(), reason=reason(history))
        newest, spread = float(known[-1]), self._spread(known)
        above, below = np.sqrt(1.0 + age_s(history) / DAY_S * GROWTH_PER_DAY), LEVEL_ARRAY - 0.5
        values = newest + np.outer(2.0 * spread * above * below, np.sqrt(1.0 + 0.1 * np.arange(len(self.leads))))
        return issue(history, self.name, self.leads, np.clip(values, self.low, self.high), reason=reason(history))

    def _spread(self, known: Floats) -> float:
        """Half the distance of q01 and q99: of the values, at least CONSTANT_WIDTH of the level, half the level below LEAST_CELLS."""
        level = max(abs(float(known.mean())), 1e-9)
        least = 0.5 * level if len(known) < LEAST_CELLS else CONSTANT_WIDTH * level
        return max(float(np.quantile(known, 0.99) - np.quantile(known, 0.01)), least)

    def _unknown(self) -> Floats:
        """From low to high, high in the middle: what is not known is taken as the rating. NaN without a finite rating."""
        if not np.isfinite(self.high):
            return np.full((len(LEVEL_ARRAY), len(self.leads)), np.nan)
        column = np.where(LEVEL_ARRAY[MEDIAN] > LEVEL_ARRAY, self.low, self.high)
        return np.tile(column[:, None], (1, len(self.leads)))


class Guarded:
    """A Forecaster that answers with the fallback, naming why, while the inner one has too little to go on or says nothing finite.

    The inner one keeps learning meanwhile, as soon as any value is known. Within the first day it serves, with that as the reason given.
    """

    def __init__(self, inner: Forecaster, low: float = 0.0, high: float = np.inf) -> None:
        self.inner, self.leads, self.name = inner, inner.leads, inner.name
        self.low, self.high = low, high
        self._fallback = Fallback(inner.leads, low, high)

    def update(self, history: History) -> Forecast:
        """The inner forecast within `low … high`, or the fallback with its reason."""
        if not len(known_values(history)) or not is_zone_known(history.time_zone):
            return self._fallback.update(history)
        answer = self.inner.update(history)
        why = reason(history)
        if not why and not np.isfinite(answer.values).all():
            why = f"{self.name} says nothing finite"
        if not why:
            return replace(answer, reason=SHORT) if len(history.values) * history.step_s < DAY_S else answer
        stand_in = self._fallback.update(history)
        return issue(history, stand_in.source, self.leads, stand_in.values, reason=why)


def reason(history: History) -> str:
    """Why the models cannot be asked, empty when they can."""
    known = known_values(history)
    if not is_zone_known(history.time_zone):
        return f"time zone {history.time_zone} is not known"
    if not len(known):
        return "no history"
    if len(known) < LEAST_CELLS:
        return f"history shorter than {LEAST_CELLS} values"
    if age_s(history) > STALE_S:
        return f"no value for {age_s(history) / 3600.0:.0f} h"
    return "constant" if len(known) >= LEAST_CELLS and float(np.ptp(known)) == 0.0 else ""


@lru_cache(maxsize=64)
def is_zone_known(name: str) -> bool:
    """Whether the calendar of a zone can be looked up here."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def known_values(history: History) -> Floats:
    """Finite values of the last week that no validator refused."""
    week = slice(-int(7 * DAY_S / history.step_s), None)
    values = history.values[week]
    true: Floats = values[np.isfinite(values) & ~history.is_estimate[week]]
    return true


def age_s(history: History) -> float:
    """Seconds since the end of the newest cell that is known and no estimate."""
    known = np.flatnonzero(np.isfinite(history.values) & ~history.is_estimate)
    return (len(history.values) - 1 - int(known[-1])) * history.step_s if len(known) else float("inf")
