"""The true future as a forecast: what the oracle policy is given, and what forecasts are scored against."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from ems.forecast.quantiles import LEVELS, Quantiles
from ems.replay.signals import DEFAULT_PRICE_PER_KWH, Steps, truth
from ems.replay.world import World, market_series
from ems.signals.prices import PriceRow
from ems.signals.weather import WeatherRow

DAY_S = 86400.0
BEYOND_S = 3 * DAY_S  # a horizon may reach past the window: there the last day repeats
GRID_S = 60.0


@dataclass(frozen=True)
class TrueSeries:
    """A series on an even grid with means over any interval. Past its end the last day repeats."""

    begin_s: float
    step_s: float
    total: np.ndarray  # integral from begin_s to each grid point, N + 1 values

    @staticmethod
    def of(begin_s: float, step_s: float, values: np.ndarray) -> TrueSeries:
        """From values per step."""
        per_day = min(len(values), round(DAY_S / step_s))
        beyond = np.resize(values[len(values) - per_day :], round(BEYOND_S / step_s))
        return TrueSeries(begin_s, step_s, np.concatenate([[0.0], np.cumsum(np.concatenate([values, beyond])) * step_s]))

    def means(self, starts: Sequence[datetime], duration_h: Sequence[float]) -> np.ndarray:
        """The mean over each interval."""
        begin = np.array([s.timestamp() for s in starts])
        end = begin + np.asarray(duration_h, float) * 3600.0
        return (self._until(end) - self._until(begin)) / (end - begin)

    def _until(self, at_s: np.ndarray) -> np.ndarray:
        """The integral up to each time. By index: `np.interp` looks at the whole series, six million points in a year's replay."""
        position = np.clip((at_s - self.begin_s) / self.step_s, 0.0, len(self.total) - 1.0)
        before = np.minimum(position.astype(int), len(self.total) - 2)
        return self.total[before] + (position - before) * (self.total[before + 1] - self.total[before])


class TrueLoad:
    """A LoadSource that knows: every quantile is the truth."""

    def __init__(self, series: TrueSeries) -> None:
        self.series = series

    def observe(self, start: datetime, duration_s: float, mean_kw: float | None) -> None:
        """Nothing to learn."""

    def forecast(self, now: datetime, starts: Sequence[datetime], duration_h: Sequence[float]) -> Quantiles:
        """The true means."""
        means = self.series.means(starts, duration_h)
        return Quantiles(tuple(starts), tuple(duration_h), {level: means for level in LEVELS})

    def max_quantile(self, now: datetime, hours: float, level: float = 0.99) -> float:
        """The highest 5-minute mean to come."""
        n = max(1, round(hours * 12))
        edges = now.timestamp() + 300.0 * np.arange(n + 1)
        return float((np.diff(self.series._until(edges)) / 300.0).max())


class TruePrices:
    """A PriceSource that knows."""

    def __init__(self, series: TrueSeries) -> None:
        self.series = series

    def add(self, rows: Iterable[PriceRow]) -> None:
        """Nothing to learn."""

    def forecast(self, now: datetime, starts: Sequence[datetime], duration_h: Sequence[float]) -> np.ndarray:
        """The true market price per step."""
        return self.series.means(starts, duration_h)


class TrueWeather:
    """A WeatherSource that knows."""

    def __init__(self, series: TrueSeries) -> None:
        self.series = series

    def add(self, rows: Iterable[WeatherRow]) -> None:
        """Nothing to learn."""

    def forecast(self, now: datetime, starts: Sequence[datetime], duration_h: Sequence[float]) -> np.ndarray:
        """The true temperature per step."""
        return self.series.means(starts, duration_h)


class TruePeak:
    """Which peak the window can be held to, from its bound: what a planner that knows the future expects."""

    def __init__(self, kw: float) -> None:
        self.kw = kw

    def observe(self, start: datetime, duration_s: float, demand_kw: object) -> None:
        """Nothing to learn."""

    def expected_kw(self, now: datetime, prices: object, weather: object, days_left: float = 0.0) -> float:
        """The bound's peak in kW."""
        return self.kw

    def expected_within_kw(self, windows: object, overall_kw: float) -> float:
        """The same in every hour: the bound's course of import is not kept."""
        return overall_kw


def true_loads(world: World) -> dict[str, TrueSeries]:
    """IT demand per cluster, history included."""
    return {name: TrueSeries.of(d.begin_s, d.step_s, d.power_kw()) for name, d in world.demand.items()}


def true_prices(world: World) -> TrueSeries:
    """The market price, from the first history of the demand on."""
    return _sampled(world, *market_series(world.site.tariff, world.signals), DEFAULT_PRICE_PER_KWH)


def true_weather(world: World) -> TrueSeries:
    """The outdoor temperature; the plant's own where there is no file."""
    if world.signals.temp is None:
        return TrueSeries.of(world.scenario.start.timestamp(), world.scenario.plant_step_s, world.temp_c)
    return _sampled(world, world.signals.temp, None, 25.0)


def _sampled(world: World, steps: Steps | None, fallback: Steps | None, default: float) -> TrueSeries:
    begin = min((d.begin_s for d in world.demand.values()), default=world.scenario.start.timestamp()) // 3600.0 * 3600.0
    points = np.arange(begin + GRID_S / 2, world.scenario.model.end.timestamp(), GRID_S)
    return TrueSeries.of(begin, GRID_S, truth(steps, fallback, points, default)[0])
