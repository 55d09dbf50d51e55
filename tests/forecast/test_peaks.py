"""The peak of the next seconds: covered as promised, never below what is measured, learnt from what ran before."""

from datetime import UTC, datetime

import numpy as np
import pytest

from ems.forecast.peak_scores import score_peaks, serving_runs
from ems.forecast.peaks import LEVELS, PeakForecaster

NOW = datetime(2024, 1, 1, tzinfo=UTC)
RATING = 700.0


def square(seconds=6000, seed=2):
    """Bursts of 20 to 60 s between idle: a serving GPU."""
    rng = np.random.default_rng(seed)
    parts = []
    while sum(map(len, parts)) < seconds:
        parts += [np.full(rng.integers(20, 60), 120.0), np.full(rng.integers(20, 60), 450.0 + rng.normal(0, 15))]
    return (np.concatenate(parts) + np.random.default_rng(9).normal(0, 5, sum(map(len, parts))))[:seconds]


def test_before_anything_is_known_the_peak_is_the_rating():
    f = PeakForecaster(RATING).forecast(NOW)
    assert (f.peaks_kw == RATING).all()


def test_after_one_burst_the_next_is_expected_while_the_load_is_idle():
    forecaster = PeakForecaster(RATING)
    for v in [120.0] * 50 + [450.0] * 30 + [120.0] * 30:
        forecaster.observe(v)
    assert forecaster.forecast(NOW).peak_kw(60.0) > 440.0


def test_q95_covers_what_it_promises_with_less_headroom_than_a_fixed_margin():
    score = score_peaks("square", [square()], 1.0, 10.0, RATING)
    assert 0.92 <= score.coverage <= 0.98
    assert score.ratio <= 0.8


def test_longer_windows_and_higher_levels_have_higher_peaks():
    forecaster = PeakForecaster(RATING)
    for v in square(2000):
        forecaster.observe(v)
    f = forecaster.forecast(NOW)
    assert (np.diff(f.peaks_kw, axis=0) >= 0).all() and (np.diff(f.peaks_kw, axis=1) >= 0).all()
    assert (np.diff(f.ramps_kw_per_s, axis=1) >= 0).all() and f.ramps_kw_per_s.min() >= 0.0
    assert f.peaks_kw.shape == (len(LEVELS), 4) and f.peaks_kw.max() <= RATING


def test_a_forecast_may_raise_a_measured_hold_and_never_lower_it():
    forecaster = PeakForecaster(RATING)
    for v in [200.0] * 100:
        forecaster.observe(v)
    f = forecaster.forecast(NOW)
    assert f.held_kw(10.0, 650.0) == 650.0
    assert f.held_kw(10.0, 0.0) == f.peak_kw(10.0) >= 200.0


def test_a_gap_teaches_nothing_and_keeps_what_was_learnt():
    forecaster = PeakForecaster(RATING)
    for v in square(2000):
        forecaster.observe(v)
    before = forecaster.forecast(NOW).peaks_kw
    forecaster.observe(None)
    assert (forecaster.forecast(NOW).peaks_kw == before).all()


def test_serving_power_is_covered_by_itself(data_dir):
    runs = serving_runs(data_dir, True)
    for window in (10.0, 30.0):
        score = score_peaks("runs", runs, 1.0, window, RATING)
        assert score.n >= 100 and 0.92 <= score.coverage <= 0.98, score
        assert score.ratio <= 0.8, score
        assert score.ramp_coverage == pytest.approx(0.95, abs=0.03)
