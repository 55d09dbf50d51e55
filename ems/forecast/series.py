"""Load series read from files of real data, as power of a cluster in kW. The only pandas of the forecasts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ems.errors import DataError
from ems.forecast.grid import Floats


@dataclass(frozen=True)
class LoadSeries:
    """Interval means in kW (NaN where missing), one per `step_s`, of a cluster with these ratings."""

    name: str
    values_kw: Floats
    step_s: float
    rating_kw: float
    idle_kw: float


def real_series(data_dir: Path) -> list[LoadSeries]:
    """The real series the forecaster is scored on: both halls of the demo site, then servers it was not built for."""
    requests = data_dir / "ai_requests"
    return [
        _hall("hall-a (ServeGen m-small, 14 days)", requests / "servegen_m-small_14d_10min.parquet", 900.0),
        _hall("hall-b (ServeGen m-large, 10 days)", requests / "servegen_m-large_first10d_10min.parquet", 500.0),
        _server("GPU server cbsugpu08 (last 30 days, W)", data_dir / "power" / "cornell_gpu_servers_1h.parquet", "cbsugpu08", 30),
    ]


def power_from_rates(requests_per_s: Floats, peak_kw: float, idle_kw: float) -> Floats:
    """Cluster power in kW: idle + (peak − idle) × rate / its 99.5th percentile; all-zero or missing windows hold the last value."""
    rates = np.asarray(requests_per_s, dtype=float)
    good = np.isfinite(rates) & (rates > 0)
    if not good.any():
        raise DataError("a rate series needs at least one positive value")
    held = rates[np.maximum.accumulate(np.where(good, np.arange(len(rates)), int(np.argmax(good))))]
    return idle_kw + (peak_kw - idle_kw) * held / float(np.percentile(held, 99.5))


def _hall(name: str, path: Path, peak_kw: float) -> LoadSeries:
    rates = _read(path)["requests_per_s"].to_numpy(dtype=float)
    return LoadSeries(name, power_from_rates(rates, peak_kw, 0.3 * peak_kw), 600.0, 1.2 * peak_kw, 0.3 * peak_kw)


def _server(name: str, path: Path, server: str, days: int) -> LoadSeries:
    table = _read(path)
    series = table[table["server"] == server].drop_duplicates("t_utc").set_index("t_utc")["gpu_power_w_mean"].sort_index()
    values = series.asfreq("h").iloc[-24 * days :].to_numpy(dtype=float)
    return LoadSeries(name, values, 3600.0, 400.0, 20.0)


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected a readable parquet file ({error})") from error
