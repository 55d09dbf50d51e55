"""Series of prices, carbon and weather read from files of real data, with what was published ahead of them. Prices per MWh, as traded."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from ems.errors import DataError
from ems.forecast.exogenous import Ahead
from ems.forecast.protocol import Floats, History, Ints, history_of
from ems.forecast.validators import CARBON, Alarm, screened
from ems.signals.prices import day_ahead_known_at

ERCOT_ZONE = "America/Chicago"
ERCOT_PUBLISHED = time(13, 30)  # local, on the day before delivery
MOER_LEADS_MIN = (5, 10, 15, 30, 45, 60, 90, 120, 150, 180)


@dataclass(frozen=True)
class MarketSeries:
    """A series on a regular grid; `clip` bounds actual and forecast in its scores (a price of scarcity is no forecast error of 4,000)."""

    name: str
    unit: str
    history: History
    low: float = -np.inf
    high: float = np.inf
    clip: float = np.inf
    ahead: Ahead = field(default_factory=Ahead.nothing)
    provider_leads: Ints = field(default_factory=lambda: np.empty(0, dtype=np.intp))
    provider: Floats = field(default_factory=lambda: np.empty((0, 0)))  # [cell, lead], issued at the end of the cell
    alarms: tuple[Alarm, ...] = ()
    published: dict[str, Floats] = field(default_factory=dict)  # forecasts of others, per cell


def ercot_2024(data_dir: Path) -> MarketSeries:
    """Real-time price of the hub average, 15 min, with the day-ahead price as it became known."""
    table = _read(data_dir / "prices" / "ercot_hubavg_rt_15min_2024.parquet", "t_utc")
    ahead = _read(data_dir / "prices" / "ercot_hubavg_da_1h_2024.parquet", "t_utc")
    history = _history(table, "t_utc", "rt_price_usd_per_mwh", 900.0, ERCOT_ZONE)
    return MarketSeries("ERCOT 2024 real time", "USD/MWh", history, -251.0, 5000.0, 1000.0, day_ahead_of(ahead, 900.0))


def day_ahead_of(table: pd.DataFrame, step_s: float) -> Ahead:
    """Hourly day-ahead prices on a finer grid, each known from its publication on."""
    first, repeat = _first_cell(table["t_utc"], step_s), round(3600.0 / step_s)
    known = {}
    for hour in table["t_utc"]:
        day = hour.tz_convert(ERCOT_ZONE).date()
        if day not in known:
            known[day] = int(np.ceil(day_ahead_known_at(hour.to_pydatetime(), ERCOT_PUBLISHED, ERCOT_ZONE).timestamp() / step_s))
    from_cell = np.array([known[hour.tz_convert(ERCOT_ZONE).date()] for hour in table["t_utc"]], dtype=np.intp)
    values = table["da_price_usd_per_mwh"].to_numpy(float)
    return Ahead(first, np.repeat(values, repeat), np.repeat(from_cell, repeat))


def nem_victoria(data_dir: Path) -> MarketSeries:
    """Dispatch price of Victoria, 5 min."""
    table = _read(data_dir / "prices" / "nem_vic1_5min_2024-12_2025-05.parquet", "t_utc")
    return MarketSeries(
        "NEM Victoria", "AUD/MWh", _history(table, "t_utc", "rrp_aud_per_mwh", 300.0, "Australia/Brisbane"), -1000.0, 17500.0
    )


def day_ahead_with_published(data_dir: Path, market: str, unit: str) -> MarketSeries:
    """Two years of day-ahead prices beside the published DNN and LEAR forecasts, in local hours of days forced to 24."""
    table = _read(data_dir / "prices" / f"epf_{market}_dayahead_with_forecasts_1h.parquet", "delivery_hour_local")
    currency = unit.split("/")[0].lower()
    published = {name: table[f"forecast_{name.lower()}_{currency}_per_mwh"].to_numpy(float) for name in ("DNN", "LEAR")}
    history = _history(table, "delivery_hour_local", f"price_{currency}_per_mwh", 3600.0, "UTC")
    return MarketSeries(f"{market.upper()} day-ahead", unit, history, published=published)


def average_carbon(data_dir: Path, operator: str, name: str) -> MarketSeries:
    """Average carbon intensity of 2022, hourly, judged cell by cell as it came: what is rejected is a marked estimate."""
    table = _read(data_dir / "carbon" / f"{operator}_mix_and_avg_carbon_1h_2022.parquet", "t_utc")
    raw = _history(table, "t_utc", "avg_carbon_g_per_kwh", 3600.0, "UTC")
    history, alarms = screened(raw.values, raw.step_s, CARBON, raw.first)
    return MarketSeries(f"carbon {name} 2022", "g/kWh", history, 0.0, alarms=tuple(alarms))


def marginal_carbon(data_dir: Path) -> MarketSeries:
    """Marginal carbon intensity of one CAISO zone, 5 min, with the provider's forecast as issued."""
    table = _read(data_dir / "carbon" / "caiso_sce_moer_5min_2021-01_2021-05.parquet", "t_utc")
    history = _history(table, "t_utc", "moer_kg_per_kwh", 300.0, "UTC", 1000.0)
    provider = 1000.0 * table[[f"forecast_{m:03d}min_kg_per_kwh" for m in MOER_LEADS_MIN]].to_numpy(float)
    leads = np.array([m // 5 for m in MOER_LEADS_MIN], dtype=np.intp)
    return MarketSeries("carbon CAISO marginal", "g/kWh", history, 0.0, provider_leads=leads, provider=provider)


def temperature_2024(data_dir: Path) -> MarketSeries:
    """Mean temperature of the ERCOT area, hourly, one hour blank."""
    table = _read(data_dir / "weather" / "ercot_temp_and_load_forecast_1h_2024.parquet", "t_utc")
    return MarketSeries("temperature ERCOT 2024", "°C", _history(table, "t_utc", "ercot_mean_temp_c", 3600.0, ERCOT_ZONE), -60.0, 60.0)


def irradiance_year(data_dir: Path, place: str) -> MarketSeries:
    """Global irradiance of a typical year in W/m2, hourly, placed in 2023 by its standard time."""
    table = _read(data_dir / "weather" / f"tmyx_{place}_1h.parquet", "hour_of_year_std")
    offset_h = int(table["utc_offset_h"].iloc[0])
    first = round((datetime(2023, 1, 1, tzinfo=UTC) - timedelta(hours=offset_h)).timestamp() / 3600.0)
    return MarketSeries(f"irradiance {place}", "W/m2", history_of(table["ghi_wh_m2"].to_numpy(float), 3600.0, first), 0.0)


def _history(table: pd.DataFrame, time_column: str, column: str, step_s: float, zone: str, factor: float = 1.0) -> History:
    values = table[column].to_numpy(float) * factor
    return history_of(values, step_s, _first_cell(table[time_column], step_s), zone)


def _first_cell(times: pd.Series, step_s: float) -> int:
    first = times.iloc[0].to_pydatetime()
    return round((first if first.tzinfo else first.replace(tzinfo=UTC)).timestamp() / step_s)


def _read(path: Path, time_column: str) -> pd.DataFrame:
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected a readable parquet file ({error})") from error
    if time_column not in table.columns or not len(table):
        raise DataError(f"{path}: expected rows with a column {time_column}")
    return table
