"""Which hours a tariff's windows mean: a table of 12 months x 8 day types x 48 half hours of local time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from ems.site.tariff import HOLIDAY, EnergyPeriod, Tariff, Window

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Index = NDArray[np.int64]
SLOTS = 48
NOBODY = -1


def table_of(windows: Iterable[Window]) -> Mask:
    """True in the half hours of any of the windows; shape (12, 8, 48)."""
    table = np.zeros((12, HOLIDAY + 1, SLOTS), bool)
    for window in windows:
        for month in window.months:
            for day in window.days:
                table[month - 1, day, slots_of(window)] = True
    return table


def slots_of(window: Window) -> list[int]:
    """The half hours of the day in a window; over midnight, the evening and the morning of the same day."""
    first, last = round(window.from_h * 2), round(window.to_h * 2)
    return list(range(first, last)) if first < last else [*range(first, SLOTS), *range(last)]


def period_table(periods: Sequence[EnergyPeriod]) -> Index:
    """Number of the period in each half hour; the rest period fills what is left, NOBODY where there is none. Shape (12, 8, 48)."""
    rest = next((n for n, p in enumerate(periods) if p.is_rest), NOBODY)
    table = np.full((12, HOLIDAY + 1, SLOTS), rest)
    for number, period in enumerate(periods):
        table[table_of(period.windows)] = number
    return table


class LocalTimes:
    """Instants as the tariff's calendar sees them: month, day type and half hour, in local time. One value per instant."""

    def __init__(self, at_s: Array | Sequence[float], time_zone: str, tariff: Tariff) -> None:
        self.at_s = np.asarray(at_s, float)
        seconds = self.at_s + _offsets_s(self.at_s, time_zone)
        days = np.floor(seconds / 86400.0).astype(np.int64)
        dates = days.astype("datetime64[D]")
        self.month_index = dates.astype("datetime64[M]").astype(np.int64)  # months since January 1970
        self.day_number = days
        self.month = self.month_index % 12  # 0 January
        self.slot = np.floor((seconds - days * 86400.0) / 1800.0).astype(np.int64)
        self.day_type = _day_types(days, dates, tariff)

    def in_table(self, table: NDArray[np.generic]) -> NDArray[np.generic]:
        """What a (12, 8, 48) table says at each instant."""
        return np.asarray(table[self.month, self.day_type, self.slot])

    def within(self, windows: Sequence[Window]) -> Mask:
        """True at the instants inside any of the windows; everywhere when there are none."""
        if not windows:
            return np.ones(len(self.at_s), bool)
        return self.in_table(table_of(windows)).astype(bool)

    def hour(self) -> Array:
        """Local hour of the day, in half hours."""
        return self.slot / 2.0


def month_name(index: int) -> str:
    """`2024-08` for months since January 1970."""
    return f"{1970 + index // 12:04d}-{index % 12 + 1:02d}"


def month_number(name: str) -> int:
    """Months since January 1970 of `2024-08`."""
    year, month = name.split("-")
    return (int(year) - 1970) * 12 + int(month) - 1


def month_start(index: int, time_zone: str) -> datetime:
    """The first instant of a local month, in UTC."""
    return datetime(1970 + index // 12, index % 12 + 1, 1, tzinfo=ZoneInfo(time_zone)).astimezone(UTC)


def month_hours(index: int, time_zone: str) -> float:
    """Hours of a local month; the months in which clocks change have one more or less."""
    return (month_start(index + 1, time_zone) - month_start(index, time_zone)).total_seconds() / 3600.0


def _day_types(days: Index, dates: NDArray[np.datetime64], tariff: Tariff) -> Index:
    weekday = (days + 3) % 7  # 1 January 1970 was a Thursday
    if not tariff.holidays:
        return weekday
    return np.where(np.isin(dates, np.array(tariff.holidays, dtype="datetime64[D]")), HOLIDAY, weekday)


def _offsets_s(at_s: Array, time_zone: str) -> Array:
    """Offset from UTC in seconds; looked up once per half hour, for no zone changes its offset within one."""
    half_hours, where = np.unique(np.floor(at_s / 1800.0).astype(np.int64), return_inverse=True)
    return np.array([_offset_s(int(h), time_zone) for h in half_hours.tolist()])[where]


@lru_cache(maxsize=200_000)
def _offset_s(half_hour: int, time_zone: str) -> float:
    offset = datetime.fromtimestamp(half_hour * 1800, UTC).astimezone(_zone(time_zone)).utcoffset()
    return offset.total_seconds() if offset is not None else 0.0


@lru_cache(maxsize=64)
def _zone(time_zone: str) -> ZoneInfo:
    return ZoneInfo(time_zone)
