"""Prices, day-ahead prices, carbon and weather of a scenario: bitemporal rows for the controller, truth for the accounts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from ems.errors import DataError
from ems.replay.scenario import CARBON_PER, MONEY_PER, CarbonFile, DayAheadFile, PriceFile, Scenario, WeatherFile
from ems.replay.tables import Table, epoch_hint, hold_last, numbers, read_frame, read_table
from ems.signals.prices import DAY_AHEAD, HIGH_PER_KWH, LOW_PER_KWH, REAL_TIME, PriceRow, day_ahead_known_at
from ems.signals.weather import COLDEST_C, HOTTEST_C, WeatherRow

DEFAULT_PRICE_PER_KWH = 0.05  # only when neither a real-time nor a day-ahead price covers any step
HISTORY_DAYS = 28  # rows older than this before `start` teach nothing any more
CARBON_HIGHEST_G = 3000.0
CARBON_LOWEST_SHARE = 0.25  # of the median around: below it is a feed fault (a mix that lost most of its plants), not a clean hour
PRICE_NAMES = {"price": ("price_per_kwh", "price_per_mwh", "price")}
WEATHER_NAMES = {"temp_c": ("temp_c", "temperature_c"), "dew_point_c": ("dew_point_c",)}
CARBON_NAMES = {"carbon": ("carbon_g_per_kwh", "carbon")}


@dataclass(frozen=True)
class Steps:
    """A step function of time: `value[i]` over `[begin_s[i], end_s[i])`, seconds since 1970 UTC. No value is missing."""

    begin_s: np.ndarray
    end_s: np.ndarray
    value: np.ndarray

    def at(self, points_s: np.ndarray) -> np.ndarray:
        """The value at each instant, NaN where no step covers it."""
        index = np.searchsorted(self.begin_s, points_s, side="right") - 1
        covered = (index >= 0) & (points_s < self.end_s[np.maximum(index, 0)])
        return np.where(covered, self.value[np.maximum(index, 0)], np.nan)


@dataclass(frozen=True)
class Signals:
    """Rows with their availability, and the truth. `quality` counts faults per signal."""

    price_rows: list[PriceRow]
    weather_rows: list[WeatherRow]
    price: Steps | None
    day_ahead: Steps | None
    temp: Steps | None
    dew_point: Steps | None  # the plant's own where the weather file has none
    carbon: Steps | None
    quality: dict[str, dict[str, int]]


def read_signals(scenario: Scenario) -> Signals:
    """Everything the scenario's market and weather files say, from HISTORY_DAYS before the window to its end."""
    quality: dict[str, dict[str, int]] = {}
    model = scenario.model
    price = _priced(scenario, model.prices, "prices", quality) if model.prices else None
    day_ahead = _priced(scenario, model.day_ahead, "day_ahead", quality) if model.day_ahead else None
    temp, dew_point = _weather(scenario, model.weather, quality) if model.weather else (None, None)
    carbon = _carbon(scenario, model.carbon, quality) if model.carbon else None
    if model.frequency is not None:
        table = read_table(scenario.files[model.frequency.path], model.frequency.columns, {"hz": ("hz",)}, model.frequency.time_zone)
        quality["frequency"] = {**table.quality, "absurd": _outside(table, "hz", 45.0, 65.0)}
    rows = [*_real_time_rows(price, model.prices), *_day_ahead_rows(day_ahead, model.day_ahead)]
    return Signals(rows, _weather_rows(temp), price, day_ahead, temp, dew_point, carbon, quality)


def truth(steps: Steps | None, fallback: Steps | None, points_s: np.ndarray, default: float) -> tuple[np.ndarray, int]:
    """The value that held at each instant, and how many instants no row covered: those take the fallback, else the last value before,
    else (nothing known at all) the default."""
    values = steps.at(points_s) if steps is not None else np.full(len(points_s), np.nan)
    missing = np.isnan(values)
    count = int(missing.sum())
    if count and fallback is not None:
        values = np.where(missing, fallback.at(points_s), values)
    filled = hold_last(values)
    return np.where(np.isfinite(filled), filled, default), count


def _priced(scenario: Scenario, file: PriceFile | DayAheadFile, key: str, quality: dict[str, dict[str, int]]) -> Steps:
    path = scenario.files[file.path]
    table = _needed(read_table(path, file.columns, PRICE_NAMES, file.time_zone, file.label), "price", path)
    value = table.values["price"] * MONEY_PER[file.per]
    return _steps(scenario, table, value, (LOW_PER_KWH, HIGH_PER_KWH), key, quality, path)


def _weather(scenario: Scenario, file: WeatherFile, quality: dict[str, dict[str, int]]) -> tuple[Steps, Steps | None]:
    """Temperature, and dew point where the file has one."""
    path = scenario.files[file.path]
    if file.format == "tmy":
        return _typical_year(scenario, path, file.columns, quality)
    table = _needed(read_table(path, file.columns, WEATHER_NAMES, file.time_zone, file.label), "temp_c", path)
    temp = _steps(scenario, table, table.values["temp_c"], (COLDEST_C, HOTTEST_C), "weather", quality, path)
    dew = table.values.get("dew_point_c")
    if dew is None or not np.isfinite(dew).any():
        return temp, None
    return temp, _steps(scenario, table, dew, (COLDEST_C, HOTTEST_C), "dew_point", quality, path)


def _carbon(scenario: Scenario, file: CarbonFile, quality: dict[str, dict[str, int]]) -> Steps:
    path = scenario.files[file.path]
    table = _needed(read_table(path, file.columns, CARBON_NAMES, file.time_zone, file.label), "carbon", path)
    grams = table.values["carbon"] * CARBON_PER[file.per]
    around = pd.Series(grams).rolling(49, center=True, min_periods=1).median().to_numpy()
    lonely = grams < CARBON_LOWEST_SHARE * around
    return _steps(scenario, table, np.where(lonely, -1.0, grams), (0.0, CARBON_HIGHEST_G), "carbon", quality, path)


def _steps(
    scenario: Scenario,
    table: Table,
    value: np.ndarray,
    bounds: tuple[float, float],
    key: str,
    quality: dict[str, dict[str, int]],
    path: Path,
) -> Steps:
    """The usable rows from HISTORY_DAYS before the window to its end; a row lasts to the next one, at most one usual step."""
    if not table.is_absolute:
        raise DataError(f"{path}: times are relative; prices and weather need dates{epoch_hint(float(table.seconds[0]))}")
    step = table.step_s
    begin_s, end_s = (scenario.model.start - timedelta(days=HISTORY_DAYS)).timestamp(), scenario.model.end.timestamp()
    inside = (table.seconds > begin_s - step) & (table.seconds < end_s)
    seconds, value = table.seconds[inside], value[inside]
    absurd = (value < bounds[0]) | (value > bounds[1])
    usable = np.isfinite(value) & ~absurd
    quality[key] = {
        **table.quality,
        "blank": int(np.isnan(value).sum()),
        "absurd": int(absurd.sum()),
        "gaps": int(np.maximum(0, np.round(np.diff(seconds) / step) - 1).sum()) if len(seconds) > 1 else 0,
    }
    if not usable.any():
        raise DataError(f"{path}: holds no usable row between {_instant(begin_s):%Y-%m-%dT%H:%MZ} and {_instant(end_s):%Y-%m-%dT%H:%MZ}")
    seconds, value = seconds[usable], value[usable]
    lasts = np.minimum(np.append(np.diff(seconds), step), step * 1.5)
    return Steps(seconds, seconds + lasts, value)


def _typical_year(
    scenario: Scenario, path: Path, columns: dict[str, str], quality: dict[str, dict[str, int]]
) -> tuple[Steps, Steps | None]:
    frame = read_frame(path)
    names = {"hour": "hour_of_year_std", "temp_c": "dry_bulb_c", "offset": "utc_offset_h", **columns}
    missing = [name for name in names.values() if name not in frame.columns]
    if missing:
        raise DataError(f"{path}: not a typical year, without {', '.join(missing)}")
    offset_h = float(frame[names["offset"]].iloc[0])
    hours, temps = numbers(frame[names["hour"]]), numbers(frame[names["temp_c"]])
    temp, blank = _by_hour_of_year(scenario, hours, temps, offset_h)
    quality["weather"] = {"rows": len(frame), "blank": blank, "typical_year": 1}
    dew_name = columns.get("dew_point_c", "dew_point_c")
    if dew_name not in frame.columns:
        return temp, None
    dew = _by_hour_of_year(scenario, hours, numbers(frame[dew_name]), offset_h)[0]
    return temp, dew if np.isfinite(dew.value).all() else None


def _by_hour_of_year(scenario: Scenario, hours: np.ndarray, values: np.ndarray, offset_h: float) -> tuple[Steps, int]:
    """The course over the window and the history before it, and how many hours of the year have no value."""
    known = np.isfinite(hours) & np.isfinite(values) & (values > COLDEST_C) & (values < HOTTEST_C)
    by_hour = dict(zip(hours[known].astype(int).tolist(), values[known].tolist(), strict=True))
    first = scenario.model.start.replace(minute=0, second=0, microsecond=0) - timedelta(days=HISTORY_DAYS)
    n = int((scenario.model.end - first).total_seconds() // 3600) + 1
    begin = first.timestamp() + 3600.0 * np.arange(n)
    value = np.array([by_hour.get(_hour_of_year(first + timedelta(hours=h + offset_h)), np.nan) for h in range(n)])
    return Steps(begin, begin + 3600.0, hold_last(value)), int((~known).sum())


def _hour_of_year(local: datetime) -> int:
    """The hour of a 365-day year; 29 February reads as the 28th."""
    day = 28 if (local.month, local.day) == (2, 29) else local.day
    return int((datetime(2023, local.month, day, local.hour, tzinfo=UTC) - datetime(2023, 1, 1, tzinfo=UTC)).total_seconds() // 3600)


def _real_time_rows(steps: Steps | None, file: PriceFile | None) -> list[PriceRow]:
    if steps is None or file is None:
        return []
    at_end = file.known == "interval_end"
    rows = []
    for begin_s, end_s, value in zip(steps.begin_s.tolist(), steps.end_s.tolist(), steps.value.tolist(), strict=True):
        begin, end = _instant(begin_s), _instant(end_s)
        rows.append(PriceRow(begin, end, end if at_end else begin, value, REAL_TIME))
    return rows


def _day_ahead_rows(steps: Steps | None, file: DayAheadFile | None) -> list[PriceRow]:
    if steps is None or file is None:
        return []
    known_at = time.fromisoformat(file.known_at)
    rows = []
    for begin_s, end_s, value in zip(steps.begin_s.tolist(), steps.end_s.tolist(), steps.value.tolist(), strict=True):
        begin = _instant(begin_s)
        rows.append(PriceRow(begin, _instant(end_s), day_ahead_known_at(begin, known_at, file.time_zone), value, DAY_AHEAD))
    return rows


def _weather_rows(steps: Steps | None) -> list[WeatherRow]:
    if steps is None:
        return []
    columns = zip(steps.begin_s.tolist(), steps.end_s.tolist(), steps.value.tolist(), strict=True)
    return [WeatherRow(_instant(b), _instant(e), _instant(e), v) for b, e, v in columns]


def _needed(table: Table, meaning: str, path: Path) -> Table:
    if meaning not in table.values:
        raise DataError(f"{path}: no column for {meaning}; name it under `columns:`")
    return table


def _outside(table: Table, name: str, low: float, high: float) -> int:
    values = table.values.get(name, np.array([]))
    return int(((values < low) | (values > high)).sum())


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
