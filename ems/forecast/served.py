"""Load forecasters as the plan asks for them, by name: those of the catalogue behind `observe` and `forecast`; which one is the default."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from ems.forecast.catalogue import load_forecaster, usual_leads
from ems.forecast.grid import CELL_S, FiveMinuteGrid
from ems.forecast.jobs import SourceWithJobs
from ems.forecast.load import LoadForecaster
from ems.forecast.protocol import Forecast, history_of
from ems.forecast.quantiles import LEVELS, Quantiles

ONLINE = "online"  # ems.forecast.load.LoadForecaster
DEFAULT = ONLINE


def load_source(rating_kw: float, idle_kw: float, name: str = DEFAULT) -> SourceWithJobs:
    """The load source of one cluster: a forecaster by its name, which knows of announced jobs. Raises KeyError for another name."""
    rest = LoadForecaster(rating_kw, idle_kw) if name == ONLINE else Served(name, rating_kw, idle_kw)
    return SourceWithJobs(rest, rating_kw)


class Served:
    """A forecaster of the catalogue as a load source, on 5-minute means. What the reserve must carry stays with the online forecaster's
    learnt maxima: quantiles of means say nothing of the highest of many."""

    def __init__(self, name: str, rating_kw: float, idle_kw: float) -> None:
        self._grid = FiveMinuteGrid()
        self._forecaster = load_forecaster(name, usual_leads(CELL_S), 0.0, rating_kw)
        self._online = LoadForecaster(rating_kw, idle_kw)
        self._last: Forecast | None = None

    def observe(self, start: datetime, duration_s: float, mean_kw: float | None) -> None:
        """Takes a measured mean; every whole five minutes are learnt from."""
        self._online.observe(start, duration_s, mean_kw)
        if self._grid.observe(start.timestamp(), duration_s, mean_kw):
            self._last = self._forecaster.update(history_of(self._grid.values, CELL_S, self._grid.first))

    def forecast(self, now: datetime, starts: Sequence[datetime], duration_h: Sequence[float]) -> Quantiles:
        """Quantiles per step of the newest forecast; of the online one before the first five minutes."""
        if self._last is None or not np.isfinite(self._last.values).all():
            return self._online.forecast(now, starts, duration_h)
        hours = np.asarray(duration_h, float)
        last, begin = self._last, np.array([s.timestamp() for s in starts])
        at = last.at(begin, hours)
        values = {level: at[_place(level)] for level in LEVELS}
        return Quantiles(tuple(starts), tuple(float(h) for h in duration_h), values)

    def max_quantile(self, now: datetime, hours: float, level: float = 0.99) -> float:
        """As of the online forecaster."""
        return self._online.max_quantile(now, hours, level)


def _place(level: float) -> int:
    from ems.forecast.protocol import LEVELS as STORED

    return STORED.index(level)
