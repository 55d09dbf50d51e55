"""Market prices ahead: real time with and without the published day-ahead price, one composition for every market and step."""

from __future__ import annotations

import numpy as np

from ems.forecast.asinh import Asinh
from ems.forecast.banded import Banded
from ems.forecast.blend import Blend, day_ago_prior
from ems.forecast.conformal import Conformal
from ems.forecast.dressed import PointForecaster
from ems.forecast.exogenous import Ahead, SeasonalRegression
from ems.forecast.fallback import Guarded
from ems.forecast.naive import DAY_S, SeasonalNaive
from ems.forecast.protocol import Forecast, Forecaster, History, Ints, issue


def leads_to(step_s: float, horizon_h: float) -> Ints:
    """Every cell of the first hour, then one an hour (the hour's last cell)."""
    hour = max(1, round(3600.0 / step_s))
    return np.concatenate([np.arange(1, hour), hour * np.arange(1, int(horizon_h) + 1)]).astype(np.intp)


def usual_day(leads: Ints, step_s: float, low: float = -np.inf, high: float = np.inf) -> Forecaster:
    """Quantiles from the past of the series and the calendar alone: the regression on the usual day blended with the day before."""
    members: list[PointForecaster] = [SeasonalRegression(leads), SeasonalNaive(leads, DAY_S, "day ago")]
    point = Asinh(Blend("usual day", members, day_ago_prior(np.asarray(leads * step_s / 3600.0, float))))
    return Conformal(Banded(point, low, high), low=low, high=high)


class RealTime:
    """Quantiles of the real-time price: where a day-ahead price is published built on it, elsewhere without; each with its own errors.

    Set `ahead` before an update. The fallback serves, with its reason, until two days are known and while nothing comes.
    """

    name = "price"

    def __init__(self, leads: Ints, step_s: float, low: float = -np.inf, high: float = np.inf) -> None:
        self.leads, self.ahead = leads, Ahead.nothing()
        self._inner = Conditional(leads, step_s, low, high)
        self._guarded = Guarded(self._inner, low, high)

    def update(self, history: History) -> Forecast:
        """Quantiles per lead."""
        self._inner.ahead = self.ahead
        return self._guarded.update(history)


class Conditional:
    """The forecast built on `ahead` at the leads at which it says something, else the one without."""

    name = "price"

    def __init__(self, leads: Ints, step_s: float, low: float, high: float) -> None:
        self.leads, self.ahead = leads, Ahead.nothing()
        informed = SeasonalRegression(leads, with_ahead=True)
        self._informed_point = Asinh(informed, informed)
        self._informed = Conformal(Banded(self._informed_point, low, high), low=low, high=high)
        self._plain = usual_day(leads, step_s, low, high)

    def update(self, history: History) -> Forecast:
        """Quantiles per lead."""
        values = self._plain.update(history).values
        if len(self.ahead.values):
            self._informed_point.tell(self.ahead)
            informed = self._informed.update(history).values
            values = np.where(np.isfinite(informed).all(axis=0), informed, values)
        return issue(history, self.name, self.leads, values)
