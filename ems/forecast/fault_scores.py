"""What the validators say about the raw feeds of the data folder, each with its own rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from ems.errors import DataError
from ems.forecast.load_series import read
from ems.forecast.table_checks import edge_alarms, ratio_alarms, seam_alarms, share_alarms, zone_alarms
from ems.forecast.validators import (
    CARBON,
    FREQUENCY,
    LOAD,
    POWER_W,
    TEMPERATURE,
    Alarm,
    Rules,
    Validator,
    local_day_alarms,
    screened,
    stamp_alarms,
)

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
    mix = read(data_dir / "carbon" / "pjm_mix_and_avg_carbon_1h_2022.parquet").filter(like="_mw").sum(axis=1, min_count=1)
    history, alarms = screened(mix.to_numpy(dtype=float), 3600.0, LOAD)
    rows.append(("generation PJM 2022, sum of fuels", counted(alarms), str(int(history.is_estimate.sum()))))
    return [*rows, *((name, counted(alarms), "") for name, alarms in table_alarms(data_dir))]


def table_alarms(data_dir: Path) -> Iterator[tuple[str, list[Alarm]]]:
    """Faults of stamps and of whole tables; no cell of a series is refused for them."""
    carbon = read(data_dir / "carbon" / "gb_avg_carbon_2020.parquet")
    yield "carbon GB 2020 (stamps)", [*stamp_alarms(list(seconds(carbon))), *naive(carbon)]
    for day in ("2024-08-24", "2024-09-04"):
        yield f"frequency {day} (stamps)", naive(read(data_dir / "grid_frequency" / f"continental_europe_1s_{day}.parquet"))
    images = read(data_dir / "gpu_cluster" / "gentd26_image_requests_to_2024-11-29.parquet")
    yield "GenAI image requests (stamps)", naive(images)
    rates = read(data_dir / "gpu_cluster" / "gentd26_qps_1min.parquet")
    yield "GenAI requests (stamps)", stamp_alarms(list(rates["t_s"].to_numpy(dtype=float)), 60.0)
    for size, file in (("m-small", "servegen_m-small_14d_10min"), ("m-large", "servegen_m-large_first10d_10min")):
        table = read(data_dir / "ai_requests" / f"{file}.parquet")
        stamps, known = (table[c].to_numpy(dtype=float) for c in ("t_s", "tokens_known_request_share"))
        yield f"ServeGen {size}, tokens", share_alarms(stamps, known)
    for name, file in (("Azure", "azure_conv_2023-11-16_requests"), ("Mooncake", "mooncake_conversation_requests")):
        yield f"{name} requests per 10 s", edges(read(data_dir / "ai_requests" / f"{file}.parquet"))
    for market, zone in (("de", "Europe/Berlin"), ("pjm", "America/New_York")):
        table = read(data_dir / "prices" / f"epf_{market}_dayahead_with_forecasts_1h.parquet")
        yield f"day-ahead {market.upper()} (stamps)", [*naive(table), *day_alarms(table["delivery_hour_local"], zone)]
    for place in ("dallas", "leesburg_va"):
        table = read(data_dir / "weather" / f"tmyx_{place}_1h.parquet")
        yield f"typical year {place}", seam_alarms(3600.0 * table["hour_of_year_std"].to_numpy(dtype=float), list(table["source_year"]))
    runs = read_csv(data_dir / "power" / "llm_serving_runs.csv")
    given, power, tokens = (runs[c].to_numpy(dtype=float) for c in ("energy_per_token_mj", "power_mean_w", "throughput_tok_s"))
    yield "serving runs, energy per token", ratio_alarms(given, 1000.0 * power / np.where(tokens > 0, tokens, np.nan))


def naive(table: pd.DataFrame) -> list[Alarm]:
    """Whether the first time column states no zone."""
    column = next(c for c in table.columns if pd.api.types.is_datetime64_any_dtype(table[c]))
    return zone_alarms(table[column].dt.tz is None, len(table))


def edges(requests: pd.DataFrame) -> list[Alarm]:
    """The 10-s bins at the ends of a trace of single requests."""
    at = requests.iloc[:, 0]
    stamps = at.astype("int64").to_numpy() / 1e9 if pd.api.types.is_datetime64_any_dtype(at) else at.to_numpy(dtype=float)
    return edge_alarms(float(stamps.min()), float(stamps.max()), 10.0)


def day_alarms(stamps: pd.Series, zone: str) -> list[Alarm]:
    """Local days of a change of the clock that have neither 23 nor 25 hours."""
    days = [str(day) for day in stamps.dt.date]
    hours = {str(day.date()): _hours(day, zone) for day in pd.to_datetime(sorted(set(days)))}
    short, long = ([d for d, n in hours.items() if n == wanted] for wanted in (23, 25))
    return local_day_alarms(list(stamps.dt.hour), days, short, long)


def _hours(day: pd.Timestamp, zone: str) -> int:
    begin, end = (d.tz_localize(zone) for d in (day, day + pd.Timedelta(days=1)))
    return round((end - begin).total_seconds() / 3600.0)


def read_csv(path: Path) -> pd.DataFrame:
    """A csv file; DataError names it where it cannot be read."""
    try:
        return pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected a readable csv file ({error})") from error


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
