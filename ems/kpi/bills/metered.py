"""What a meter recorded: mean net import per interval, with the market price and the carbon of the same intervals."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ems.errors import DataError
from ems.site.tariff import Tariff
from ems.site.tariff_calendar import LocalTimes, month_hours

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class Metered:
    """Contiguous intervals from `start` (aware) on; one value per interval. `net_kw` is import positive, export negative.

    A meter with two registers counts import and export of one interval apart: `import_kw` and `export_kw`, both from 0 up, take the place
    of the net where they are given. Raises DataError on gaps (NaN): missing is not zero.
    """

    start: datetime
    interval_min: int
    net_kw: Array
    market_per_kwh: Array | None = None  # what the energy follows, where it follows a market
    export_market_per_kwh: Array | None = None  # what the export follows; as the import when None
    carbon_g_per_kwh: Array | None = None
    coincident_s: tuple[float, ...] = ()  # starts of the system's peak intervals, seconds since 1970
    import_kw: Array | None = None
    export_kw: Array | None = None

    def __post_init__(self) -> None:
        rows = {"power": self.net_kw, "market price": self.market_per_kwh, "carbon": self.carbon_g_per_kwh}
        rows |= {"export price": self.export_market_per_kwh, "import": self.import_kw, "export": self.export_kw}
        for name, row in rows.items():
            if row is not None and (len(row) != len(self.net_kw) or not np.isfinite(row).all()):
                raise DataError(f"metered {name}: expected one finite value for each of {len(self.net_kw)} intervals")

    @cached_property
    def at_s(self) -> Array:
        """The start of each interval, seconds since 1970."""
        return np.asarray(self.start.timestamp() + 60.0 * self.interval_min * np.arange(len(self.net_kw)), float)

    @property
    def hours(self) -> float:
        """Length of an interval."""
        return self.interval_min / 60.0

    @cached_property
    def mean_import_kw(self) -> Array:
        """Mean import of each interval."""
        return np.maximum(self.net_kw, 0.0) if self.import_kw is None else self.import_kw

    @cached_property
    def import_kwh(self) -> Array:
        """Energy imported in each interval."""
        return self.mean_import_kw * self.hours

    @cached_property
    def export_kwh(self) -> Array:
        """Energy exported in each interval."""
        return (np.maximum(-self.net_kw, 0.0) if self.export_kw is None else self.export_kw) * self.hours

    def import_means(self, interval_min: int) -> tuple[Array, Array]:
        """Start and mean import of each interval of the utility's clock (since 00:00 UTC); the data's own where they are longer."""
        if interval_min <= self.interval_min:
            return self.at_s, self.mean_import_kw
        index = np.floor(self.at_s / (60.0 * interval_min)).astype(np.int64)
        first = np.flatnonzero(np.r_[True, np.diff(index) > 0])
        count = np.diff(np.r_[first, len(index)])
        means = np.add.reduceat(self.mean_import_kw, first) / count
        return np.asarray(index[first] * 60.0 * interval_min, float), np.asarray(means, float)


@dataclass(frozen=True)
class Account:
    """One meter under one tariff in one time zone: what every family of charges looks at."""

    tariff: Tariff
    time_zone: str
    metered: Metered

    @cached_property
    def times(self) -> LocalTimes:
        """The intervals in the tariff's calendar."""
        return self.local(self.metered.at_s)

    @cached_property
    def months(self) -> tuple[int, ...]:
        """Local billing months with data, as months since January 1970."""
        return tuple(np.unique(self.times.month_index).tolist())

    def local(self, at_s: Array) -> LocalTimes:
        """Instants in the tariff's calendar."""
        return LocalTimes(at_s, self.time_zone, self.tariff)

    def share(self, month: int) -> float:
        """Share of a month that the data covers."""
        return float((self.times.month_index == month).sum()) * self.metered.hours / month_hours(month, self.time_zone)

    def import_kwh(self, month: int) -> float:
        """Energy imported in a month."""
        return float(self.metered.import_kwh[self.times.month_index == month].sum())

    def means(self, interval_min: int) -> tuple[LocalTimes, Array]:
        """The utility's intervals in the calendar and their mean import; worked out once per length."""
        if interval_min not in self._means:
            at_s, kw = self.metered.import_means(interval_min)
            self._means[interval_min] = (self.local(at_s), kw)
        return self._means[interval_min]

    @cached_property
    def _means(self) -> dict[int, tuple[LocalTimes, Array]]:
        return {}

    def highest_kw(self, interval_min: int) -> dict[int, float]:
        """The highest interval mean of each month."""
        times, kw = self.means(interval_min)
        return highest(times.month_index, kw)


def highest(month: Index, kw: Array) -> dict[int, float]:
    """The highest value of each month."""
    return {int(m): float(kw[month == m].max()) for m in np.unique(month)}
