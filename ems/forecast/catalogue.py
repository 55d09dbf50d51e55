"""The load forecasters by name, each with quantiles that are kept honest."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ems.forecast.conformal import RESTLESS, Conformal
from ems.forecast.dressed import Dressed, PointForecaster
from ems.forecast.ensemble import Ensemble, PointMixture
from ems.forecast.fading import DaysBefore, FadingDeviation, FadingRatio
from ems.forecast.fallback import Fallback, Guarded
from ems.forecast.linear import OnlineLinear
from ems.forecast.naive import DAY_S, WEEK_S, DetectedPeriod, Persistence, SeasonalNaive
from ems.forecast.protocol import Forecaster, Ints
from ems.forecast.trees import QuantileTrees

LEAD_HOURS = (1 / 6, 1 / 3, 0.5, 1.0, 2.0, 4.0, 6.0, 12.0, 24.0, 36.0, 48.0)
POINTS: dict[str, Callable[[Ints], PointForecaster]] = {
    "persistence": Persistence,
    "day-ago": lambda leads: SeasonalNaive(leads, DAY_S, "day-ago"),
    "week-ago": lambda leads: SeasonalNaive(leads, WEEK_S, "week-ago"),
    "period": DetectedPeriod,
    "linear": OnlineLinear,
}
NAMES = ("persistence", "day-ago", "week-ago", "period", "linear", "ensemble", "trees", "fallback")


def usual_leads(step_s: float, hours: tuple[float, ...] = LEAD_HOURS) -> Ints:
    """Leads in cells that are learnt; those between are interpolated. The first cell is always one."""
    cells = np.array([1.0, *(h * 3600.0 / step_s for h in hours)])
    return np.unique(np.rint(cells[cells >= 1.0]).astype(np.intp))


def load_forecaster(name: str, leads: Ints, low: float = 0.0, high: float = np.inf) -> Forecaster:
    """A forecaster of NAMES for a series between `low` and `high` (the rating, where one is known); raises KeyError for another name."""
    if name == "fallback":
        return Fallback(leads, low, high)
    return Guarded(Conformal(_inner(name, leads, low, high), RESTLESS, low, high), low, high)


def _inner(name: str, leads: Ints, low: float, high: float) -> Forecaster:
    if name == "ensemble":
        return ensemble(leads, low, high)
    if name == "trees":
        return QuantileTrees(leads, Dressed(OnlineLinear(leads), low, high), low, high)
    return Dressed(POINTS[name](leads), low, high, is_scaled=name == "linear")


def mixed_points(leads: Ints) -> list[PointForecaster]:
    """Every point that is mixed, the newest value first."""
    days = DaysBefore(leads)
    fading: list[PointForecaster] = [FadingDeviation(days, 1.5), FadingDeviation(days, 6.0), FadingRatio(days, 24.0)]
    *named, linear = (make(leads) for make in POINTS.values())
    return [*named, *fading, linear]


def ensemble(leads: Ints, low: float = 0.0, high: float = np.inf) -> Forecaster:
    """All points mixed per lead, dressed with scaled and with plain errors, beside persistence with plain errors."""
    mixture = PointMixture(mixed_points(leads))
    return Ensemble(
        [
            Dressed(mixture, low, high),
            Dressed(mixture, low, high, is_scaled=False),
            Dressed(Persistence(leads), low, high, is_scaled=False),
        ]
    )
