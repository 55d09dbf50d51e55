"""The price the plan expects: the quantile forecast's mean from the prices known at `now`, the price book's rule where there is none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import numpy as np

from ems.forecast.exogenous import Ahead
from ems.forecast.price import RealTime, leads_to
from ems.forecast.protocol import LEVEL_ARRAY, Bools, Floats, Forecast, History, interpolate
from ems.signals.prices import DAY_AHEAD, FORECAST_BASIS, HIGH_PER_KWH, LOW_PER_KWH, PriceBook, PriceRow
from ems.signals.series import epoch_s

CELLS_S = (300.0, 900.0, 1800.0, 3600.0)  # the settlement periods of markets; others are seen through the next shorter one
DAY_S, HOUR_S = 86400.0, 3600.0
KEPT_S = 35 * DAY_S  # of prices
HORIZON_H = 49.0
WARM_EVERY_S = 900.0  # steps in which the history before the first plan is walked through; hourly, the hour ahead is learnt too slowly
STALE_S = 6 * HOUR_S  # a forecast from older prices is none
LEAST_S = 3 * DAY_S
EDGES = np.concatenate([[0.0], 0.5 * (LEVEL_ARRAY[1:] + LEVEL_ARRAY[:-1]), [1.0]])
MEAN_WEIGHTS = np.diff(EDGES)  # of each quantile in the mean, the ends held constant


class ForecastPrices(PriceBook):
    """A source of prices for the plan. Takes the same rows as the book, sees only those with `available_at <= now`.

    Works in cells of the market's own settlement period, taken from the first real-time row. A cell whose price is already known (the
    running one where prices are known when an interval begins) belongs to the history, and is passed on as it is.
    """

    def __init__(self, fallback_per_kwh: float = 0.05, time_zone: str = "UTC") -> None:
        super().__init__(fallback_per_kwh)
        self.time_zone = time_zone
        self.cell_s = 0.0  # nothing came yet
        self.forecast_now: Forecast | None = None  # of the newest cell, None while the book stands in
        self._model: RealTime | None = None
        self._published: dict[float, PriceRow] = {}  # by the instant it begins
        self._ahead, self._known_early = Ahead.nothing(), -1
        self._end = 0
        self._asked_at: datetime | None = None

    def add(self, rows: Iterable[PriceRow]) -> None:
        """Takes rows as they become known."""
        rows = list(rows)
        super().add(rows)
        self._asked_at = None
        for row in rows:
            if row.source == DAY_AHEAD and LOW_PER_KWH <= row.price_per_kwh <= HIGH_PER_KWH:
                self._published[epoch_s(row.valid_from)] = row
                self._known_early = -1
            elif row.source != DAY_AHEAD and not self.cell_s:
                self.cell_s = _cell_s((row.valid_to - row.valid_from).total_seconds())

    def forecast(self, now: datetime, starts: Sequence[datetime], duration_h: Sequence[float]) -> Floats:
        """Expected price per kWh, one mean per step; known prices where a step's is known, past or to come."""
        expected = super().forecast(now, starts, duration_h)
        self._update(now)
        if self.forecast_now is None:
            return expected
        means = MEAN_WEIGHTS @ interpolate(self.forecast_now.values, self.forecast_now.leads.astype(float), self._leads(starts, duration_h))
        return np.where(self._is_foretold(now, starts, duration_h), means, expected)

    def basis(self, now: datetime, starts: Sequence[datetime], duration_h: Sequence[float]) -> tuple[str, ...]:
        """Per step, what `forecast` rests on."""
        known = super().basis(now, starts, duration_h)
        self._update(now)
        if self.forecast_now is None:
            return known
        foretold = self._is_foretold(now, starts, duration_h)
        return tuple(FORECAST_BASIS if is_foretold else k for k, is_foretold in zip(known, foretold, strict=True))

    def _is_foretold(self, now: datetime, starts: Sequence[datetime], duration_h: Sequence[float]) -> Bools:
        """Per step, whether it lies after the newest known cell, within the forecast's reach, and its price is not known."""
        begin = np.array([epoch_s(start) for start in starts])
        end_s = self._end * self.cell_s
        within: Bools = (begin >= end_s - 1.0) & (begin < end_s + HORIZON_H * HOUR_S) & ~self.is_known(now, starts, duration_h)
        return within

    def _leads(self, starts: Sequence[datetime], duration_h: Sequence[float]) -> Floats:
        """Per step, its lead in cells: that of its cell when it lies within one, else of its middle."""
        begin_s, length_s = np.array([epoch_s(s) for s in starts]), np.asarray(duration_h, float) * HOUR_S
        middle = (begin_s + 0.5 * length_s) / self.cell_s - self._end + 0.5
        own = np.floor((begin_s + 1e-3) / self.cell_s) - self._end + 1.0
        leads: Floats = np.where(length_s <= self.cell_s + 1e-3, own, middle)
        return leads

    def _update(self, now: datetime) -> None:
        """The forecast from the newest known cell; none while too little is known or all of it is old."""
        if now == self._asked_at:
            return
        self._asked_at = now
        history = self._history(now)
        if history is None:
            self.forecast_now = None
            return
        if self._model is not None and history.end == self._end and self.forecast_now is not None:
            return
        self._publish(now, known_early=max(0, history.end - int(epoch_s(now) // self.cell_s)))
        if self._model is None or history.end < self._end:
            self._model = self._warmed(history)
        self._model.ahead = self._ahead
        forecast = self._model.update(history)
        self._end = history.end
        self.forecast_now = forecast if not forecast.reason and np.isfinite(forecast.values).all() else None

    def _warmed(self, history: History) -> RealTime:
        model = RealTime(leads_to(self.cell_s, HORIZON_H), self.cell_s, LOW_PER_KWH, HIGH_PER_KWH)
        model.ahead = self._ahead
        for end in range(history.first + round(2 * DAY_S / self.cell_s), history.end, max(1, round(WARM_EVERY_S / self.cell_s))):
            model.update(history.until(end))
        return model

    def _history(self, now: datetime) -> History | None:
        """The cells known at `now`, the running one among them when its price is; None while they are few or old."""
        if not self.cell_s:
            return None
        running = int(epoch_s(now) // self.cell_s)
        known = self.real_time_cells(now, self.cell_s, round(KEPT_S / self.cell_s), through_running=True)
        finite = np.flatnonzero(np.isfinite(known))
        if len(finite) * self.cell_s < LEAST_S or (len(known) - int(finite[-1])) * self.cell_s > STALE_S:
            return None
        values = known[int(finite[0]) : int(finite[-1]) + 1]
        first = running + 1 - len(known) + int(finite[0])
        return History(self.cell_s, first, values, np.zeros(len(values), dtype=bool), self.time_zone)

    def _publish(self, now: datetime, known_early: int) -> None:
        """What is published day-ahead, per cell; each from the first history that ends when it is out. `known_early`: how many cells the
        history reaches beyond `now`, in which nothing more can have been published than before them."""
        if known_early == self._known_early:
            return
        self._known_early = known_early
        self._published = {begin: row for begin, row in self._published.items() if begin >= epoch_s(now) - KEPT_S}
        cells: dict[int, tuple[float, int]] = {}
        for row in self._published.values():
            known = int(np.ceil(epoch_s(row.available_at) / self.cell_s)) + known_early
            for cell in range(round(epoch_s(row.valid_from) / self.cell_s), round(epoch_s(row.valid_to) / self.cell_s)):
                cells[cell] = (row.price_per_kwh, known)
        first = min(cells, default=0)
        rows = [cells.get(cell, (np.nan, 0)) for cell in range(first, max(cells, default=first - 1) + 1)]
        self._ahead = Ahead(first, np.array([value for value, _ in rows]), np.array([known for _, known in rows], dtype=np.intp))


def _cell_s(row_s: float) -> float:
    """The longest settlement period that is not longer than a row."""
    return max((cell for cell in CELLS_S if cell <= row_s + 1.0), default=CELLS_S[0])
