"""Sun ahead: irradiance from its own past between night and a clear sky, and the power of a solar plant from it."""

from __future__ import annotations

import numpy as np

from ems.forecast.asinh import Asinh
from ems.forecast.banded import Banded
from ems.forecast.blend import Blend, day_ago_prior
from ems.forecast.conformal import Conformal
from ems.forecast.dressed import PointForecaster
from ems.forecast.exogenous import SeasonalRegression
from ems.forecast.fallback import Guarded
from ems.forecast.naive import DAY_S, SeasonalNaive
from ems.forecast.protocol import Floats, Forecast, History, Ints, issue

CLEAR_DAYS = 21  # the brightest of as many days around a time of day is the clear sky
BRIGHTER = 1.1  # edges of clouds and a higher sun than the days before
HIGHEST_W_M2 = 1500.0
STANDARD_W_M2 = 1000.0
CELL_ABOVE_AIR_C_PER_W_M2 = 0.03  # nominal operating cell temperature 44 °C at 800 W/m2 and 20 °C
LOSS_PER_C, STANDARD_C = 0.004, 25.0
OTHER_LOSSES = 0.14  # soiling, wiring, inverter


class Irradiance:
    """Quantiles of the irradiance on the horizontal in W/m2: zero where no sun shone at that hour lately, at most a clear sky."""

    name = "irradiance"

    def __init__(self, leads: Ints, step_s: float = 3600.0) -> None:
        self.leads = leads
        held = Conformal(UnderClearSky(leads, step_s), low=0.0, high=HIGHEST_W_M2)
        self._guarded = Guarded(held, 0.0, HIGHEST_W_M2)

    def update(self, history: History) -> Forecast:
        """Quantiles per lead; the fallback's, with its reason, while the history is too short or too old."""
        answer = self._guarded.update(history)
        if not len(history.values):
            return answer
        values = np.minimum(answer.values, BRIGHTER * clear_sky(history, self.leads))
        return issue(history, self.name, self.leads, values, reason=answer.reason)


class UnderClearSky:
    """The usual day with its own errors, at most a clear sky: a night is certain, so that only days tell how wide days must be."""

    name = "under clear sky"

    def __init__(self, leads: Ints, step_s: float) -> None:
        self.leads = leads
        members: list[PointForecaster] = [SeasonalRegression(leads), SeasonalNaive(leads, DAY_S, "day ago")]
        point = Asinh(Blend("usual day", members, day_ago_prior(np.asarray(leads * step_s / 3600.0, float))))
        self._inner = Banded(point, 0.0, HIGHEST_W_M2)

    def update(self, history: History) -> Forecast:
        """Quantiles per lead, NaN within the first days."""
        values = np.minimum(self._inner.update(history).values, BRIGHTER * clear_sky(history, self.leads))
        return issue(history, self.name, self.leads, values)


def clear_sky(history: History, leads: Ints) -> Floats:
    """The brightest value within an hour of the target's time of day in the last CLEAR_DAYS, per lead; HIGHEST_W_M2 where none is known."""
    day, hour = round(DAY_S / history.step_s), max(1, round(3600.0 / history.step_s))
    first = -(-leads // day)
    back = (first + np.arange(CLEAR_DAYS)[:, None]) * day  # whole days before the target, all of them past
    near = (history.end + leads - 1 - back)[:, :, None] + np.arange(-hour, hour + 1)
    places = near - history.first
    known = (places >= 0) & (places < len(history.values))
    values = np.where(known, history.values[np.where(known, places, 0)], np.nan)
    brightest = np.where(np.isfinite(values), values, -np.inf).max(axis=(0, 2))
    return np.where(np.isfinite(brightest), brightest, HIGHEST_W_M2)


def solar_kw(irradiance_w_m2: Floats, air_temp_c: Floats, rating_kw: float) -> Floats:
    """Power of a plant of `rating_kw` (direct current at standard conditions): linear in the sun, less for warm cells and usual losses.

    Monotone in the irradiance as far as it reaches: quantiles of irradiance become quantiles of power. The linear model of PVWatts.
    """
    cell_c = air_temp_c + CELL_ABOVE_AIR_C_PER_W_M2 * irradiance_w_m2
    warm = 1.0 - LOSS_PER_C * (cell_c - STANDARD_C)
    return np.clip(rating_kw * irradiance_w_m2 / STANDARD_W_M2 * warm * (1.0 - OTHER_LOSSES), 0.0, rating_kw)
