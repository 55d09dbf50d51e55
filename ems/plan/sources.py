"""What a plan needs to know of the future, and from whom: forecasters in service, the true future in an oracle's replay."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ems.forecast.quantiles import Quantiles
from ems.signals.prices import PriceRow
from ems.signals.weather import WeatherRow

Array = NDArray[np.float64]


class LoadSource(Protocol):
    """Demand of one cluster in kW, without caps (ems.forecast.load.LoadForecaster in service)."""

    def observe(self, start: datetime, duration_s: float, mean_kw: float | None) -> None:
        """Takes a measured mean; None where nothing was measured."""

    def forecast(self, now: datetime, starts: Sequence[datetime], duration_h: Sequence[float]) -> Quantiles:
        """Quantiles of the mean per step."""
        ...

    def max_quantile(self, now: datetime, hours: float, level: float = 0.99) -> float:
        """What the highest 5-minute mean of the next hours does not exceed with probability `level`."""
        ...


class PriceSource(Protocol):
    """Market price per kWh (ems.signals.prices.PriceBook in service)."""

    def add(self, rows: Iterable[PriceRow]) -> None:
        """Takes rows as they become known."""

    def forecast(self, now: datetime, starts: Sequence[datetime], duration_h: Sequence[float]) -> Array:
        """Expected price per step; where steps lie in the past, the known price."""
        ...


class WeatherSource(Protocol):
    """Outdoor temperature in degrees C (ems.signals.weather.WeatherBook in service)."""

    def add(self, rows: Iterable[WeatherRow]) -> None:
        """Takes rows as they become known."""

    def forecast(self, now: datetime, starts: Sequence[datetime], duration_h: Sequence[float]) -> Array:
        """Expected temperature per step; where steps lie in the past, the known one."""
        ...
