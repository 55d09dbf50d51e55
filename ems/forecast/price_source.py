"""The price the plan expects: the quantile forecast's mean from the prices known at `now`, the price book's rule where there is none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import numpy as np

from ems.forecast.exogenous import Ahead
from ems.forecast.price import RealTime, leads_to
from ems.forecast.protocol import LEVEL_ARRAY, Floats, Forecast, History
from ems.signals.prices import DAY_AHEAD, HIGH_PER_KWH, LOW_PER_KWH, PriceBook, PriceRow
from ems.signals.series import epoch_s

CELL_S = 900.0
KEPT_CELLS = 35 * 96  # of prices
HORIZON_H = 49.0
WARM_EVERY = 4  # the history before the first plan is walked through in steps of so many cells
STALE_CELLS = 24  # a forecast from older prices is none
LEAST_CELLS = 3 * 96
EDGES = np.concatenate([[0.0], 0.5 * (LEVEL_ARRAY[1:] + LEVEL_ARRAY[:-1]), [1.0]])
MEAN_WEIGHTS = np.diff(EDGES)  # of each quantile in the mean, the ends held constant


class ForecastPrices:
    """A source of prices for the plan. Takes the same rows as the book, sees only those with `available_at <= now`."""

    def __init__(self, fallback_per_kwh: float = 0.05, time_zone: str = "UTC") -> None:
        self.book = PriceBook(fallback_per_kwh)
        self.time_zone = time_zone
        self.forecast_now: Forecast | None = None  # of the newest cell, None while the book stands in
        self._model: RealTime | None = None
        self._published: dict[int, tuple[float, int]] = {}  # cell -> day-ahead price, the cell it is known from
        self._ahead = Ahead.nothing()
        self._end = 0

    def add(self, rows: Iterable[PriceRow]) -> None:
        """Takes rows as they become known."""
        rows = list(rows)
        self.book.add(rows)
        for row in rows:
            if row.source == DAY_AHEAD and LOW_PER_KWH <= row.price_per_kwh <= HIGH_PER_KWH:
                known = int(np.ceil(epoch_s(row.available_at) / CELL_S))
                for cell in range(round(epoch_s(row.valid_from) / CELL_S), round(epoch_s(row.valid_to) / CELL_S)):
                    self._published[cell] = (row.price_per_kwh, known)
        if any(row.source == DAY_AHEAD for row in rows):
            self._ahead = self._published_ahead()

    def forecast(self, now: datetime, starts: Sequence[datetime], duration_h: Sequence[float]) -> Floats:
        """Expected price per kWh, one mean per step; known prices where a step's is known, past or to come."""
        expected = self.book.forecast(now, starts, duration_h)
        self._update(now)
        if self.forecast_now is None:
            return expected
        begin = np.array([epoch_s(start) for start in starts])
        means = MEAN_WEIGHTS @ self.forecast_now.at(begin, np.asarray(duration_h, dtype=float))
        is_ahead = (begin >= self._end * CELL_S - 1.0) & ~self.book.is_known(now, starts, duration_h)
        return np.where(is_ahead, means, expected)

    def actual(self, start: datetime) -> float | None:
        """The price that held, for accounting only."""
        return self.book.actual(start)

    def data_quality(self) -> dict[str, int]:
        """What was wrong with the feeds."""
        return self.book.data_quality()

    def _update(self, now: datetime) -> None:
        """The forecast from the newest known cell; none while too little is known or all of it is old."""
        history = self._history(now)
        if history is None:
            self.forecast_now = None
            return
        if self._model is not None and history.end == self._end and self.forecast_now is not None:
            return
        if self._model is None or history.end < self._end:
            self._model = self._warmed(history)
        self._model.ahead = self._ahead
        forecast = self._model.update(history)
        self._end = history.end
        self.forecast_now = forecast if not forecast.reason and np.isfinite(forecast.values).all() else None

    def _warmed(self, history: History) -> RealTime:
        model = RealTime(leads_to(CELL_S, HORIZON_H), CELL_S, LOW_PER_KWH, HIGH_PER_KWH)
        model.ahead = self._ahead
        for end in range(history.first + 2 * 96, history.end, WARM_EVERY):
            model.update(history.until(end))
        return model

    def _history(self, now: datetime) -> History | None:
        known = self.book.real_time_cells(now, CELL_S, KEPT_CELLS)
        finite = np.flatnonzero(np.isfinite(known))
        if len(finite) < LEAST_CELLS or len(known) - int(finite[-1]) > STALE_CELLS:
            return None
        values = known[int(finite[0]) : int(finite[-1]) + 1]
        first = int(epoch_s(now) // CELL_S) - len(known) + int(finite[0])
        return History(CELL_S, first, values, np.zeros(len(values), dtype=bool), self.time_zone)

    def _published_ahead(self) -> Ahead:
        """The newest KEPT_CELLS of what is published, with the cells each is known from; what is older is forgotten."""
        newest = max(self._published, default=0)
        first = max(min(self._published, default=0), newest - KEPT_CELLS)
        self._published = {cell: row for cell, row in self._published.items() if cell >= first}
        rows = [self._published.get(cell, (np.nan, 0)) for cell in range(first, newest + 1)]
        return Ahead(first, np.array([value for value, _ in rows]), np.array([known for _, known in rows], dtype=np.intp))
