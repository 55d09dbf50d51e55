"""A point forecaster that works on heavy-tailed values (prices) as if they were tame: both ways through the inverse hyperbolic sine.

`z = asinh((value - center) / scale)` is near linear within a spread of the center and logarithmic beyond, for either sign; it is monotone,
so a median goes back as a median. Center and scale are the median and the interquartile range of what is known at the first forecast.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ems.forecast.dressed import PointForecaster
from ems.forecast.exogenous import DAY_S, KEPT_DAYS, Ahead, SeasonalRegression
from ems.forecast.protocol import Floats, History

LARGEST_Z = 10.0  # e^10 / 2 is 11,000 spreads: beyond every market's cap
FIRST_DAYS = 2.0


class Asinh:
    """A point forecaster around one that sees transformed values; NaN until FIRST_DAYS of the history are known.

    `tell` passes on what is published ahead to `informed`, a part of the inner forecaster.
    """

    def __init__(self, inner: PointForecaster, informed: SeasonalRegression | None = None) -> None:
        self.inner, self.leads, self.name = inner, inner.leads, inner.name
        self._informed = informed
        self._ahead: Ahead | None = None
        self._center, self._scale = 0.0, 0.0

    def tell(self, ahead: Ahead) -> None:
        """Takes what is published for cells to come, in the units of the series."""
        self._ahead = ahead

    def update(self, history: History) -> Floats:
        """One value per lead, in the units of the series."""
        if not self._scale and not self._measure(history):
            return np.full(len(self.leads), np.nan)
        if self._informed is not None and self._ahead is not None:
            self._informed.ahead = replace(self._ahead, values=self._to_z(self._ahead.values))
        kept = recent(history)
        z = np.clip(self.inner.update(replace(kept, values=self._to_z(kept.values))), -LARGEST_Z, LARGEST_Z)
        values: Floats = self._center + self._scale * np.sinh(z)
        return values

    def _measure(self, history: History) -> bool:
        finite = history.values[np.isfinite(history.values)]
        if len(finite) * history.step_s < FIRST_DAYS * DAY_S:
            return False
        low, self._center, high = (float(v) for v in np.percentile(finite, [25, 50, 75]))
        self._scale = max((high - low) / 1.35, 0.01 * abs(self._center), 1e-9)
        return True

    def _to_z(self, values: Floats) -> Floats:
        z: Floats = np.arcsinh((values - self._center) / self._scale)
        return z


def recent(history: History) -> History:
    """The part of a history a point forecaster may need."""
    first = max(history.first, history.end - round(KEPT_DAYS * DAY_S / history.step_s))
    skip = first - history.first
    return replace(history, first=first, values=history.values[skip:], is_estimate=history.is_estimate[skip:])
