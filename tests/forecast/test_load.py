"""The load forecaster: what it says without history, with holes, on real halls; and that it never looks ahead."""

from copy import deepcopy
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from ems.forecast.load import LoadForecaster
from ems.forecast.quantiles import LEVELS
from ems.forecast.score import LeadScore, score_load
from ems.forecast.series import LoadSeries, power_from_rates, real_series

T0 = datetime(2024, 3, 8, 0, 0, tzinfo=UTC)
FIVE = timedelta(minutes=5)
RATING, IDLE = 1080.0, 270.0


def steps(now: datetime, n: int = 288) -> tuple[tuple[datetime, ...], tuple[float, ...]]:
    return tuple(now + FIVE * i for i in range(n)), (1 / 12,) * n


def fed(values, start: datetime = T0) -> tuple[LoadForecaster, datetime]:
    forecaster = LoadForecaster(RATING, IDLE)
    for i, v in enumerate(values):
        forecaster.observe(start + FIVE * i, 300.0, v)
    return forecaster, start + FIVE * len(values)


def daily(days: float, seed: int = 3, noise_kw: float = 20.0) -> list[float]:
    rng = np.random.default_rng(seed)
    t = np.arange(int(days * 288)) / 288
    return list(600 + 200 * np.sin(2 * np.pi * t) + rng.normal(0, noise_kw, len(t)))


@cache
def _after(days: float) -> tuple[LoadForecaster, datetime]:
    return fed(daily(days))


def after(days: float) -> tuple[LoadForecaster, datetime]:
    """A forecaster that has seen the daily pattern for so long, a copy of one taught once."""
    return deepcopy(_after(days))


def width(forecaster: LoadForecaster, now: datetime, at: int = 11) -> float:
    q = forecaster.forecast(now, *steps(now))
    return float(q.q(0.9)[at] - q.q(0.1)[at])


def test_without_any_history_nameplate_is_forecast():
    q = LoadForecaster(RATING, IDLE).forecast(T0, *steps(T0, 3))
    assert list(q.q(0.1)) == [IDLE] * 3
    assert all(list(q.q(level)) == [RATING] * 3 for level in (0.5, 0.9, 0.99))
    assert LoadForecaster(RATING, IDLE).max_quantile(T0, 4.0) == RATING


def test_in_the_first_minute_what_was_seen_is_expected_and_nameplate_stays_the_upper_bound():
    for start in (T0, T0 + timedelta(minutes=4, seconds=20)):
        forecaster = LoadForecaster(RATING, IDLE)
        forecaster.observe(start, 60.0, 512.0)
        q = forecaster.forecast(start + timedelta(minutes=1), *steps(T0 + FIVE, 12))
        assert q.q(0.5) == pytest.approx(np.full(12, 512.0))
        assert q.q(0.99)[0] > 700.0


def test_in_the_first_hour_the_newest_load_is_expected():
    forecaster, now = fed([400.0] * 6)
    q = forecaster.forecast(now, *steps(now))
    assert q.q(0.5) == pytest.approx(np.full(288, 400.0), abs=1.0)
    assert (q.q(0.9) > 400.0).all() and (q.q(0.1) < 400.0).all()


def test_a_daily_pattern_is_expected_to_come_again():
    values = daily(5, noise_kw=5.0)
    forecaster, now = fed(values[: 4 * 288])
    error = forecaster.forecast(now, *steps(now)).q(0.5) - values[4 * 288 :]
    assert abs(error).mean() < 15.0


def test_a_forecast_reaches_two_days_in_steps_of_any_length():
    forecaster, now = after(3)
    starts, hours = (now, now + FIVE, now + timedelta(hours=1), now + timedelta(hours=47)), (1 / 12, 11 / 12, 1.0, 1.0)
    q = forecaster.forecast(now, starts, hours)
    assert all(np.isfinite(q.q(level)).all() and len(q.q(level)) == 4 for level in LEVELS)


def test_quantiles_never_cross_and_stay_between_zero_and_nameplate():
    rng = np.random.default_rng(8)
    forecaster, now = fed(list(rng.uniform(0, RATING, 700)))
    q = forecaster.forecast(now, *steps(now, 576))
    stacked = np.array([q.q(level) for level in LEVELS])
    assert (np.diff(stacked, axis=0) >= 0).all()
    assert stacked.min() >= 0.0 and stacked.max() <= RATING


def test_a_flat_load_is_expected_flat_with_a_narrowing_band():
    short, now_short = fed([500.0] * 30)
    long, now_long = fed([500.0] * 288 * 5)
    assert long.forecast(now_long, *steps(now_long)).q(0.5) == pytest.approx(np.full(288, 500.0), abs=1e-6)
    assert width(long, now_long) < 0.2 * width(short, now_short)


def test_the_same_observations_give_the_same_forecast():
    (a, now), (b, _) = fed(daily(1.5)), fed(daily(1.5))
    for level in LEVELS:
        assert (a.forecast(now, *steps(now)).q(level) == b.forecast(now, *steps(now)).q(level)).all()


def test_forecasting_changes_nothing():
    (a, now), (b, _) = after(3), after(3)
    a.forecast(now, *steps(now))
    a.max_quantile(now, 8.0)
    a.observe(now, 300.0, 700.0)
    b.observe(now, 300.0, 700.0)
    assert (a.forecast(now + FIVE, *steps(now + FIVE)).q(0.9) == b.forecast(now + FIVE, *steps(now + FIVE)).q(0.9)).all()


def test_finer_and_coarser_observations_mean_the_same_as_five_minutes():
    values = np.repeat(daily(0.7), 2)  # ten-minute steps as pairs of equal cells
    five, now = fed(list(values))
    minute, ten = LoadForecaster(RATING, IDLE), LoadForecaster(RATING, IDLE)
    for i, v in enumerate(values[::2]):
        ten.observe(T0 + 2 * FIVE * i, 600.0, v)
        for m in range(10):
            minute.observe(T0 + 2 * FIVE * i + timedelta(minutes=m), 60.0, v + (5.0 if m % 2 else -5.0) * (m % 5 < 4))
    for other in (minute, ten):
        assert other.forecast(now, *steps(now)).q(0.9) == pytest.approx(five.forecast(now, *steps(now)).q(0.9))


def test_missing_values_are_skipped_and_are_not_zero():
    values: list[float | None] = list(daily(2.2, noise_kw=1.0))
    values[400:406] = [None] * 6
    values[500] = float("nan")
    forecaster, now = fed(values)
    full, _ = fed(daily(2.2, noise_kw=1.0))
    difference = forecaster.forecast(now, *steps(now)).q(0.5) - full.forecast(now, *steps(now)).q(0.5)
    assert abs(difference).max() < 20.0


def test_a_silent_meter_widens_the_band_until_only_nameplate_is_left():
    forecaster, now = after(3)
    quiet, widths = deepcopy(forecaster), [width(forecaster, now, at=0)]
    for hours in (1, 5, 19):
        for _ in range(12 * hours):
            forecaster.observe(now, 300.0, None)
            now += FIVE
        widths.append(width(forecaster, now, at=0))
    assert widths[:3] == sorted(widths[:3]) and widths[1] > widths[0]
    assert forecaster.forecast(now, *steps(now, 2)).q(0.9)[0] == RATING
    now = T0 + 3 * 288 * FIVE
    later = now + timedelta(hours=30)
    assert quiet.forecast(later, *steps(later, 2)).q(0.9)[0] == RATING


def test_late_and_backward_stamps_change_nothing():
    forecaster, now = after(3)
    before = forecaster.forecast(now, *steps(now)).q(0.5)
    forecaster.observe(now - timedelta(hours=3), 300.0, 0.0)
    assert (forecaster.forecast(now, *steps(now)).q(0.5) == before).all()


def test_a_clock_that_jumps_far_ahead_starts_anew():
    forecaster, now = after(3)
    later = now + timedelta(days=100)
    forecaster.observe(later, 300.0, 450.0)
    forecaster.observe(later + FIVE, 300.0, 450.0)
    assert forecaster.forecast(later + 2 * FIVE, *steps(later + 2 * FIVE, 12)).q(0.5) == pytest.approx(np.full(12, 450.0), abs=30.0)


@pytest.mark.parametrize("change", [datetime(2024, 3, 10, tzinfo=UTC), datetime(2024, 11, 3, tzinfo=UTC)])
def test_a_clock_change_leaves_no_hole(change: datetime):
    forecaster, now = fed(daily(1.7), change - timedelta(days=1.5))
    assert np.isfinite(forecaster.forecast(now, *steps(now, 576)).q(0.5)).all()
    assert forecaster._grid.n == int(1.7 * 288)


def test_the_future_cannot_be_seen():
    values = daily(2.5)
    poisoned = values[: 2 * 288] + [0.0] * 144
    ours, theirs = LoadForecaster(RATING, IDLE), LoadForecaster(RATING, IDLE)
    for i, (a, b) in enumerate(zip(values, poisoned, strict=True)):
        now = T0 + FIVE * i
        if i <= 2 * 288 and i % 36 == 0:
            assert (ours.forecast(now, *steps(now)).q(0.5) == theirs.forecast(now, *steps(now)).q(0.5)).all()
        ours.observe(now, 300.0, a)
        theirs.observe(now, 300.0, b)
    assert (ours.forecast(now, *steps(now)).q(0.5) != theirs.forecast(now, *steps(now)).q(0.5)).any()


def test_the_highest_load_of_the_next_hours_stays_below_its_quantile():
    values = daily(9, noise_kw=30.0)
    forecaster, held, asked = LoadForecaster(RATING, IDLE), 0, 0
    for i, v in enumerate(values):
        if i > 4 * 288 and i % 12 == 0 and i + 48 < len(values):
            asked += 1
            held += max(values[i : i + 48]) <= forecaster.max_quantile(T0 + FIVE * i, 4.0)
        forecaster.observe(T0 + FIVE * i, 300.0, v)
    assert held / asked > 0.95
    now = T0 + FIVE * len(values)
    maxima = [forecaster.max_quantile(now, h) for h in (1.0, 4.0, 12.0, 24.0)]
    assert maxima == sorted(maxima) and maxima[0] < RATING
    assert forecaster.max_quantile(now, 25.0) == RATING


def test_a_rate_series_becomes_power_and_holds_over_its_gaps():
    power = power_from_rates(np.array([0.0, 10.0, np.nan, 0.0, 20.0]), 900.0, 270.0)
    assert power[0] == power[1] == power[2] == power[3]
    assert power[4] == pytest.approx(900.0, rel=0.01)


@cache
def hall(data_dir: Path, index: int) -> LoadSeries:
    return real_series(data_dir)[index]


@cache
def hall_scores(data_dir: Path, index: int) -> list[LeadScore]:
    s = hall(data_dir, index)
    return score_load(s.values_kw, s.rating_kw, s.idle_kw, s.step_s, every_cells=2)


@pytest.mark.parametrize("index", [0, 1])
def test_at_one_hour_it_is_at_least_as_good_as_the_better_naive_forecast_on_both_halls(data_dir, index):
    score = next(s for s in hall_scores(data_dir, index) if s.lead_min == 60)
    assert score.origins > 1200
    assert score.mae_kw <= min(score.persistence_mae_kw, score.day_ago_mae_kw)


@pytest.mark.parametrize("index", [0, 1])
def test_the_band_holds_about_what_it_promises_on_both_halls(data_dir, index):
    for score in hall_scores(data_dir, index):
        assert 0.70 <= score.coverage_q10_q90 <= 0.92, score
        assert 0.96 <= score.coverage_q99 <= 1.0, score


def test_the_score_itself_sees_no_value_before_its_time(data_dir):
    s = hall(data_dir, 1)
    half = round(3 * 86400 / s.step_s)
    whole = score_load(s.values_kw[:half], s.rating_kw, s.idle_kw, s.step_s)
    poisoned = s.values_kw[: half + 144].copy()
    poisoned[half:] = np.nan
    again = score_load(poisoned, s.rating_kw, s.idle_kw, s.step_s)
    assert [x.mae_kw for x in again] == pytest.approx([x.mae_kw for x in whole])
