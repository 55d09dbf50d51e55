"""What the validators say about the raw feeds of the data folder, each with its own rules."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from ems.forecast.load_series import read
from ems.forecast.validators import CARBON, FREQUENCY, LOAD, POWER_W, TEMPERATURE, Alarm, Rules, Validator, screened, stamp_alarms

REGULAR: tuple[tuple[str, str, str, float, Rules], ...] = (
    ("ServeGen m-small, requests", "ai_requests/servegen_m-small_14d_10min", "requests_per_s", 600.0, LOAD),
    ("ServeGen m-large, requests", "ai_requests/servegen_m-large_first10d_10min", "requests_per_s", 600.0, LOAD),
    ("carbon PJM 2022", "carbon/pjm_mix_and_avg_carbon_1h_2022", "avg_carbon_g_per_kwh", 3600.0, CARBON),
    ("carbon ERCOT 2022", "carbon/erco_mix_and_avg_carbon_1h_2022", "avg_carbon_g_per_kwh", 3600.0, CARBON),
    ("carbon CAISO 2022", "carbon/ciso_mix_and_avg_carbon_1h_2022", "avg_carbon_g_per_kwh", 3600.0, CARBON),
    ("temperature ERCOT 2024", "weather/ercot_temp_and_load_forecast_1h_2024", "ercot_mean_temp_c", 3600.0, TEMPERATURE),
)
STAMPED: tuple[tuple[str, str, str, float, Rules], ...] = (
    ("frequency 2024-08-24", "grid_frequency/continental_europe_1s_2024-08-24", "frequency_hz", 1.0, FREQUENCY),
    ("frequency 2024-09-04", "grid_frequency/continental_europe_1s_2024-09-04", "frequency_hz", 1.0, FREQUENCY),
)


def fault_rows(data_dir: Path) -> list[tuple[str, str, str]]:
    """Per feed: its alarms with counts, and how many cells became estimates."""
    rows = []
    for name, path, column, step_s, rules in REGULAR:
        history, alarms = screened(read(data_dir / f"{path}.parquet")[column].to_numpy(dtype=float), step_s, rules)
        rows.append((name, counted(alarms), str(int(history.is_estimate.sum()))))
    for name, path, column, step_s, rules in STAMPED:
        table = read(data_dir / f"{path}.parquet")
        rows.append(stamped_row(name, seconds(table), table[column].to_numpy(dtype=float), step_s, rules))
    servers = read(data_dir / "power" / "cornell_gpu_servers_1h.parquet")
    for server, table in servers.groupby("server"):
        rows.append(stamped_row(f"GPU server {server}", seconds(table), table["gpu_power_w_mean"].to_numpy(dtype=float), 3600.0, POWER_W))
    carbon = seconds(read(data_dir / "carbon" / "gb_avg_carbon_2020.parquet"))
    return [*rows, ("carbon GB 2020 (stamps)", counted(stamp_alarms(list(carbon))), "")]


def stamped_row(name: str, stamps: np.ndarray, values: np.ndarray, step_s: float, rules: Rules) -> tuple[str, str, str]:
    """A feed with stamps of its own, judged in the order it came."""
    validator = Validator(rules, step_s)
    for stamp, value in zip(stamps, values, strict=True):
        validator.take(float(stamp), float(value))
    return name, counted(validator.alarms), str(int(validator.history().is_estimate.sum()))


def counted(alarms: list[Alarm]) -> str:
    """Alarms by name with how many values each concerned."""
    counts: Counter[str] = Counter()
    for alarm in alarms:
        counts[alarm.name] += alarm.count
    return ", ".join(f"{name} {n}" for name, n in counts.items()) or "none"


def seconds(table: pd.DataFrame) -> np.ndarray:
    """Seconds of the first time column since its first value, NaN where it has none."""
    column = next(c for c in table.columns if str(c).startswith("t_"))
    return (table[column] - table[column].iloc[0]).dt.total_seconds().to_numpy(dtype=float)
