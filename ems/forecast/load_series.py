"""The real load series that forecasts are scored on, raw but for what a validator would refuse: read from a folder of data sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ems.errors import DataError
from ems.forecast.evaluate import Series
from ems.forecast.protocol import Floats

SERVERS = ("cbsugpu05", "cbsugpu06", "cbsugpu08")
SERVER_DAYS, SERVER_RATING_W = 180, 400.0


def load_series(data_dir: Path) -> list[Series]:
    """Every load series long enough for ten minutes or an hour ahead. Raises DataError where a file is not there.

    ServeGen: requests per second of two services. GenAI: GPU duty and requests of an image service (22.8 h at 1 min), and its busy GPUs
    from the execution times of single requests (15 days at 10 min). Cornell: power of three GPU servers (the last 180 days, hourly).
    """
    requests, cluster = data_dir / "ai_requests", data_dir / "gpu_cluster"
    return [
        servegen("ServeGen m-small", requests / "servegen_m-small_14d_10min.parquet"),
        servegen("ServeGen m-large", requests / "servegen_m-large_first10d_10min.parquet"),
        duty(cluster / "gentd26_pod_gpu_duty_1min.parquet"),
        image_rate(cluster / "gentd26_qps_1min.parquet"),
        busy_gpus(cluster / "gentd26_image_requests_to_2024-11-29.parquet"),
        *(server(data_dir / "power" / "cornell_gpu_servers_1h.parquet", name) for name in SERVERS),
    ]


def servegen(name: str, path: Path) -> Series:
    """Requests per second; an all-zero window is a collection gap, thus missing."""
    rates = read(path)["requests_per_s"].to_numpy(dtype=float)
    return Series(name, np.where(rates > 0, rates, np.nan), 600.0, "req/s")


def servegen_clients(data_dir: Path) -> Floats:
    """Requests per second `[window, client]` of ServeGen m-large, in the windows of its total."""
    table = read(data_dir / "ai_requests" / "servegen_m-large_first10d_clients.parquet")
    wide = table.pivot_table(index="t_s", columns="client", values="rate_per_s", aggfunc="sum", observed=True)
    return wide.reindex(np.arange(0, 864_000, 600)).fillna(0.0).to_numpy(dtype=float)


def duty(path: Path) -> Series:
    """Sum of the GPU duty of all pods in percent, on whole minutes."""
    table = read(path)
    total = table.groupby("t_s")["gpu_duty_pct"].sum()
    return Series("GenAI GPU duty", even(total.groupby(total.index // 60).mean()), 60.0, "%", 100.0 * table["pod"].nunique())


def image_rate(path: Path) -> Series:
    """Image requests per second at the gateway, per minute."""
    rates = read(path).set_index("t_s")["api_qps_sum"]
    rates.index = rates.index // 60
    return Series("GenAI requests", even(rates.groupby(level=0).mean()), 60.0, "req/s")


def busy_gpus(path: Path) -> Series:
    """GPUs busy in the mean over ten minutes: execution seconds that began there / 600."""
    table = read(path)
    window = (table["t_source_naive"] - table["t_source_naive"].min().normalize()).dt.total_seconds() // 600
    busy = table["exec_time_seconds"].groupby(window).sum() / 600.0
    return Series("GenAI busy GPUs", np.nan_to_num(even(busy), nan=0.0), 600.0, "GPU")


def server(path: Path, name: str) -> Series:
    """Hourly GPU power of one server, missing hours as they are."""
    table = read(path)
    power = table[table["server"] == name].drop_duplicates("t_utc").set_index("t_utc")["gpu_power_w_mean"].sort_index().asfreq("h")
    return Series(f"GPU server {name}", power.iloc[-24 * SERVER_DAYS :].to_numpy(dtype=float), 3600.0, "W", SERVER_RATING_W)


def even(values: pd.Series) -> Floats:
    """Values at 0, 1, … of their integer index, NaN where missing."""
    first, last = int(values.index.min()), int(values.index.max())
    return values.reindex(range(first, last + 1)).to_numpy(dtype=float)


def read(path: Path) -> pd.DataFrame:
    """A parquet file; DataError names it where it cannot be read."""
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected a readable parquet file ({error})") from error
