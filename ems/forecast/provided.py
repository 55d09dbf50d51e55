"""A series somebody also forecasts (carbon, weather): the provider's forecast blended with what the series itself says, by lead."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ems.forecast.asinh import Asinh
from ems.forecast.banded import Banded
from ems.forecast.blend import Blend
from ems.forecast.conformal import Conformal
from ems.forecast.dressed import PointForecaster
from ems.forecast.exogenous import SeasonalRegression
from ems.forecast.fallback import Guarded
from ems.forecast.naive import DAY_S, Persistence, SeasonalNaive
from ems.forecast.price import usual_day
from ems.forecast.protocol import Floats, Forecast, Forecaster, History, Ints

PROVIDER_SHARE = 0.5  # of the provider's forecast before anything was learnt of it
BLEND_RATE = 0.02


class Provider:
    """A point forecaster that says what a provider said: `issued[lead]` from the end of cell `end - 1`, NaN for leads it does not give.

    An older forecast serves the targets it still covers; where it says nothing there is nothing.
    """

    name = "provider"

    def __init__(self, leads: Ints) -> None:
        self.leads = leads
        self._end, self._given, self._values = 0, np.empty(0, dtype=np.intp), np.empty(0)

    def say(self, end: int, leads: Ints, values: Floats) -> None:
        """Takes a forecast issued at `end`."""
        self._end, self._given, self._values = end, np.asarray(leads), np.asarray(values, dtype=float)

    def update(self, history: History) -> Floats:
        """One value per lead; between the provider's leads linear, beyond them NaN."""
        finite = np.isfinite(self._values)
        if not finite.any() or history.end < self._end:
            return np.full(len(self.leads), np.nan)
        wanted = self.leads + (history.end - self._end)
        given = self._given[finite]
        said = np.interp(wanted, given, self._values[finite])
        return np.where((wanted >= given[0]) & (wanted <= given[-1]), said, np.nan)


class Provided:
    """Quantiles of one series. `provider.say` before an update where a provider forecasts; the fallback serves, with its reason, while the
    history is too short or too old."""

    def __init__(self, name: str, leads: Ints, step_s: float, has_provider: bool, low: float, high: float) -> None:
        self.name, self.leads = name, leads
        self.provider = Provider(leads)
        if has_provider:
            self.blend = provider_blend(self.provider, leads, step_s)
            own: Forecaster = Conformal(Banded(self.blend, low, high), low=low, high=high)
        else:
            own = usual_day(leads, step_s, low, high)
        self._guarded = Guarded(own, low, high)

    def update(self, history: History) -> Forecast:
        """Quantiles per lead."""
        answer = self._guarded.update(history)
        return replace(answer, source=answer.source if answer.reason else self.name)


def provider_blend(provider: Provider, leads: Ints, step_s: float) -> Blend:
    """The provider, persistence, the regression on the usual day and the day before."""
    members: list[PointForecaster] = [
        provider,
        Persistence(leads),
        Asinh(SeasonalRegression(leads)),
        SeasonalNaive(leads, DAY_S, "day ago"),
    ]
    hours = leads * step_s / 3600.0
    rest = 1.0 - PROVIDER_SHARE
    newest = rest * np.exp(-hours)
    prior = np.stack([np.full(len(leads), PROVIDER_SHARE), newest, 0.8 * (rest - newest) + 0.05, 0.2 * (rest - newest) + 0.01], axis=1)
    return Blend("provided", members, prior, BLEND_RATE)
