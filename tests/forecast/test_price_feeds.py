"""Raw feeds with the faults they came with: each is flagged, forecasts never fail on them, and widening ends with the fault."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ems.forecast.carbon import carbon
from ems.forecast.protocol import LEVELS, Floats, History
from ems.forecast.validators import CARBON, FREQUENCY, PRICE, TEMPERATURE, Rules, screened, stamp_alarms
from ems.forecast.weather import temperature

LEADS = np.array([1, 6, 24])
HOUR_S = 3600.0


def read(data_dir: Path, path: str) -> tuple[Floats, Floats]:
    """Stamps in epoch seconds and the values of the first column that is no time."""
    table = pd.read_parquet(data_dir / path)
    times = table.iloc[:, 0]
    unit = "datetime64[s]" if times.dt.tz is None else "datetime64[s, UTC]"
    named = [c for c in table.columns if c in ("avg_carbon_g_per_kwh", "ercot_mean_temp_c", "frequency_hz") or c.endswith("_per_mwh")]
    return times.astype(unit).astype("int64").to_numpy(float), table[named[0]].to_numpy(float)


def judged(data_dir: Path, path: str, rules: Rules) -> tuple[History, dict[str, int]]:
    """The history a forecaster sees, and how many values each alarm concerned."""
    seconds, values = read(data_dir, path)
    step_s = float(np.median(np.diff(seconds)))
    history, alarms = screened(values, step_s, rules, round(seconds[0] / step_s))
    counts: dict[str, int] = {}
    for alarm in alarms:
        counts[alarm.name] = counts.get(alarm.name, 0) + alarm.count
    return history, counts


def at(stamp: str) -> int:
    return int(pd.Timestamp(stamp, tz="UTC").timestamp() // HOUR_S)


def test_hours_of_an_operator_that_lost_its_plants_and_its_blanks_are_rejected(data_dir):
    history, counts = judged(data_dir, "carbon/pjm_mix_and_avg_carbon_1h_2022.parquet", CARBON)
    lost = slice(at("2022-10-01T05:00") - history.first, at("2022-10-01T09:00") - history.first)
    assert history.is_estimate[lost].all()
    assert counts["missing"] == 23
    assert history.is_estimate.sum() < 60  # and little else
    assert history.values[lost].min() > 200.0  # nobody is told the grid was clean


def test_a_blank_temperature_is_a_marked_estimate(data_dir):
    history, counts = judged(data_dir, "weather/ercot_temp_and_load_forecast_1h_2024.parquet", TEMPERATURE)
    assert counts["missing"] == 1
    assert history.is_estimate[at("2024-11-03T06:00") - history.first]


@pytest.mark.parametrize("day, zeros", [("08-24", 0), ("09-04", 1)])
def test_frequency_zeros_gaps_and_stamps_are_flagged(data_dir, day, zeros):
    seconds, hz = read(data_dir, f"grid_frequency/continental_europe_1s_2024-{day}.parquet")
    names = {alarm.name: alarm for alarm in stamp_alarms(seconds.tolist(), 1.0)}
    assert "missing" in names and {"duplicate stamp", "backward stamp"} & set(names)
    near = slice(max(0, int(np.argmin(hz)) - 200), int(np.argmin(hz)) + 200)
    _, alarms = screened(hz[near], 1.0, FREQUENCY)
    assert sum(a.count for a in alarms if a.name == "out of range") == zeros


def test_mixed_steps_are_flagged(data_dir):
    seconds, _ = read(data_dir, "carbon/gb_avg_carbon_2020.parquet")
    assert "step change" in {alarm.name for alarm in stamp_alarms(seconds.tolist(), 1800.0)}


def test_prices_of_scarcity_are_no_fault(data_dir):
    for path in ("ercot_hubavg_rt_15min_2024", "nem_vic1_5min_2024-12_2025-05"):
        history, counts = judged(data_dir, f"prices/{path}.parquet", PRICE)
        assert counts == {} and not history.is_estimate.any()


@pytest.mark.parametrize(
    "make, path, rules, begin, end",
    [
        (carbon, "carbon/pjm_mix_and_avg_carbon_1h_2022.parquet", CARBON, "2022-10-01T05:00", "2022-10-01T09:00"),
        (carbon, "carbon/pjm_mix_and_avg_carbon_1h_2022.parquet", CARBON, "2022-03-13T07:00", "2022-03-14T05:00"),
        (temperature, "weather/ercot_temp_and_load_forecast_1h_2024.parquet", TEMPERATURE, "2024-11-03T06:00", "2024-11-03T07:00"),
    ],
)
def test_forecasts_widen_in_the_faults_window_and_not_for_long_after_it(data_dir, make, path, rules, begin, end):
    history, _ = judged(data_dir, path, rules)
    first, last = at(begin), at(end)
    forecaster = make(LEADS, HOUR_S)
    width = {}
    for cell in range(first - 20 * 24, last + 60):
        forecast = forecaster.update(history.until(cell))
        assert np.isfinite(forecast.values).all() or len(history.until(cell).values) < 48
        width[cell] = float((forecast.values[LEVELS.index(0.9)] - forecast.values[LEVELS.index(0.1)]).mean())
    before = np.mean([width[c] for c in range(first - 24, first)])
    after = np.mean([width[c] for c in range(last + 36, last + 60)])
    assert width[last] > 1.1 * width[last - 24 * (1 + (last - first) // 24)]
    assert after < 1.35 * before
