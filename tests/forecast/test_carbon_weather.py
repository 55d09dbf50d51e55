"""Carbon, temperature, sun and droop: a blend never much worse than its better parent, night without sun, frequency faults counted."""

import numpy as np
import pytest

from ems.forecast.carbon import carbon
from ems.forecast.frequency import Droop, droop_throughput, droop_use
from ems.forecast.protocol import MEDIAN, history_of
from ems.forecast.provided import Provider
from ems.forecast.renewable import Irradiance, clear_sky, solar_kw
from ems.forecast.weather import temperature, wet_bulb_c

LEADS = np.array([1, 3, 6])


def wave(n: int, seed: int = 5):
    rng = np.random.default_rng(seed)
    slow = np.cumsum(rng.normal(0.0, 4.0, n))
    return 300.0 + 60.0 * np.sin(2 * np.pi * np.arange(n) / 24) + slow - np.linspace(0.0, slow[-1], n)


def blended(values, provider_error, ends):
    """Medians of a blend whose provider is wrong by so much, and what the provider said."""
    rng = np.random.default_rng(6)
    forecaster, history = carbon(LEADS, 3600.0, has_provider=True), history_of(values, 3600.0)
    medians, provided = [], []
    for end in range(1, ends[-1] + 1):
        told = values[np.minimum(end + LEADS - 1, len(values) - 1)] + rng.normal(0.0, provider_error, len(LEADS))
        forecaster.provider.say(end, LEADS, told)
        medians.append(forecaster.update(history.until(end)).values[MEDIAN])
        provided.append(told)
    return np.array(medians)[ends - 1], np.array(provided)[ends - 1]


@pytest.mark.parametrize("provider_error", [3.0, 20.0, 200.0])
def test_the_blend_is_hardly_worse_than_the_better_parent_at_every_lead(provider_error):
    values, ends = wave(600), np.arange(300, 590)
    actual = values[ends[:, None] + LEADS - 1]
    medians, provided = blended(values, provider_error, ends)
    parents = np.minimum(np.abs(provided - actual).mean(axis=0), np.abs(values[ends - 1, None] - actual).mean(axis=0))
    assert (np.abs(medians - actual).mean(axis=0) <= 1.05 * parents).all()


def test_a_provider_speaks_for_the_targets_it_gave_and_grows_old():
    provider = Provider(np.array([1, 2, 8]))
    provider.say(100, np.array([1, 4]), np.array([10.0, 40.0]))
    history = history_of(np.zeros(100), 3600.0)
    assert provider.update(history) == pytest.approx([10.0, 20.0, np.nan], nan_ok=True)
    assert provider.update(history_of(np.zeros(102), 3600.0)) == pytest.approx([30.0, 40.0, np.nan], nan_ok=True)
    assert np.isnan(provider.update(history_of(np.zeros(99), 3600.0))).all()  # not yet issued


def test_poisoning_the_future_changes_no_earlier_carbon_forecast():
    values = wave(400)
    poisoned = values.copy()
    poisoned[300:] = 1900.0
    told = []
    for series in (values, poisoned):
        forecaster, history = carbon(LEADS, 3600.0), history_of(series, 3600.0)
        told.append([forecaster.update(history.until(end)).values for end in range(100, 301, 5)])
    assert (np.array(told[0]) == np.array(told[1])).all()


def test_short_and_silent_histories_are_answered_with_a_reason():
    for forecaster in (carbon(LEADS, 3600.0), temperature(LEADS, 3600.0), Irradiance(LEADS)):
        for values in (np.empty(0), wave(20) / 10.0, np.full(100, np.nan)):
            forecast = forecaster.update(history_of(values, 3600.0))
            assert forecast.reason
            assert np.isfinite(forecast.values).all()


def sunny(days: int):
    rng = np.random.default_rng(7)
    sun = np.maximum(0.0, 900.0 * np.sin(np.pi * (np.arange(24) - 6) / 12)) * (np.arange(24) > 6) * (np.arange(24) < 18)
    return (sun * np.repeat(rng.uniform(0.3, 1.0, (days, 1)), 24, axis=1)).ravel()


def test_at_night_no_sun_is_expected_and_by_day_never_more_than_a_clear_sky():
    values = sunny(30)
    leads = np.arange(1, 25)
    forecaster, history = Irradiance(leads), history_of(values, 3600.0)
    for end in range(5 * 24, 29 * 24, 6):
        forecast = forecaster.update(history.until(end))
    hour = (forecast.leads + 29 * 24 - 6 - 1) % 24
    night = (hour <= 4) | (hour >= 20)
    assert forecast.values[:, night].max() == 0.0
    assert (forecast.q(0.99) <= 1.1 * clear_sky(history.until(29 * 24 - 6), leads) + 1e-9).all()
    assert forecast.values[MEDIAN, ~night].max() > 200.0


def test_a_solar_plant_follows_the_sun_less_in_heat_and_never_above_its_rating():
    assert solar_kw(np.array([0.0, 500.0, 1000.0]), np.full(3, 20.0), 1000.0) == pytest.approx([0.0, 412.8, 774.0], abs=15.0)
    assert solar_kw(np.array([800.0]), np.array([40.0]), 1000.0) < solar_kw(np.array([800.0]), np.array([0.0]), 1000.0)
    assert solar_kw(np.array([1500.0]), np.array([-40.0]), 1000.0) == 1000.0


def test_wet_bulb_is_the_published_example_and_the_dry_bulb_in_fog():
    assert wet_bulb_c(np.array([20.0]), np.array([50.0])) == pytest.approx([13.7], abs=0.05)  # Stull 2011
    assert wet_bulb_c(np.array([20.0]), np.array([99.0])) == pytest.approx([20.0], abs=0.3)


def test_droop_is_silent_in_its_band_and_full_at_its_end():
    assert Droop().share(np.array([49.7, 49.8, 49.995, 50.0, 50.105, 50.5])) == pytest.approx([-1.0, -1.0, 0.0, 0.0, 0.5, 1.0])


def test_faults_of_frequency_are_counted_and_move_no_energy():
    seconds, hz = np.arange(3600.0), np.full(3600, 50.105)
    clean = droop_use(seconds, hz, Droop())
    broken = hz.copy()
    broken[100] = 0.0
    broken[200] = np.nan
    order = np.r_[0:1000, 998, 999, 1000:1500, 1555:3600]
    faulty = droop_use(seconds[order], broken[order], Droop())
    assert faulty.faults == {"duplicate": 0, "backward": 1, "gap": 1, "out of range": 1, "missing": 1}
    assert faulty.throughput_h == pytest.approx(clean.throughput_h)
    assert clean.throughput_h == pytest.approx(np.full(4, 0.5 * 0.25))
    assert np.isnan(droop_use(seconds[:300], hz[:300], Droop()).throughput_h).all()
    assert len(droop_use(np.empty(0), np.empty(0), Droop()).throughput_h) == 0


def test_droop_throughput_of_a_measured_day_is_covered_after_the_day_before(data_dir):
    import pandas as pd

    days = [pd.read_parquet(data_dir / "grid_frequency" / f"continental_europe_1s_2024-{day}.parquet") for day in ("08-24", "09-04")]
    used = []
    for day in days:
        seconds = day["t_source_naive"].astype("datetime64[s]").astype("int64").to_numpy(float)
        used.append(droop_use(seconds, day["frequency_hz"].to_numpy(float), Droop()))
    assert used[1].faults["out of range"] == 1 and all(u.faults["gap"] > 0 for u in used)
    values = np.concatenate([u.throughput_h for u in used])
    assert len(values) == 192
    forecaster, history = droop_throughput(np.array([1, 4])), history_of(values, 900.0)
    said = np.array([forecaster.update(history.until(end)).values for end in range(1, len(values))])
    second = said[96:-4]
    actual = np.stack([values[97 : 97 + len(second)], values[100 : 100 + len(second)]], axis=1)
    assert ((actual >= second[:, 2]) & (actual <= second[:, 10])).mean() > 0.7
    assert (actual <= second[:, 12]).mean() > 0.94
