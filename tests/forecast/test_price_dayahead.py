"""The next day's prices from the days before: better than the day or week before, no look-ahead, days of 23 and 25 hours."""

from datetime import UTC, datetime

import numpy as np
import pytest

from ems.forecast.price_dayahead import NextDay, following_day, local_days, next_day
from ems.forecast.protocol import MEDIAN, history_of

LEADS = np.arange(1, 25)


def days(n: int, seed: int = 4):
    """Hourly prices with a level that wanders, a shape, and cheap weekends."""
    rng = np.random.default_rng(seed)
    level = 40.0 + np.cumsum(rng.normal(0.0, 2.0, n)) * 0.7
    shape = 8.0 * np.sin(2 * np.pi * (np.arange(24) - 9) / 24)
    weekend = np.where(np.arange(n) % 7 >= 5, -10.0, 0.0)
    return level[:, None] + shape + weekend[:, None] + rng.normal(0.0, 2.0, (n, 24))


def test_it_is_nearer_than_the_day_and_the_week_before():
    table = days(150)
    forecast = np.array([following_day(table[:d], 738_000) for d in range(100, 150)])
    error = np.abs(forecast - table[100:]).mean()
    assert error < 0.85 * min(np.abs(table[99:149] - table[100:]).mean(), np.abs(table[93:143] - table[100:]).mean())


def test_poisoning_the_future_changes_no_earlier_forecast():
    values = days(60).ravel()
    poisoned = values.copy()
    poisoned[50 * 24 :] = 900.0
    told = []
    for series in (values, poisoned):
        forecaster, history = next_day(LEADS), history_of(series, 3600.0)
        told.append([forecaster.update(history.until(24 * d)).values for d in range(30, 51)])
    assert np.array_equal(told[0], told[1], equal_nan=True)
    assert np.isfinite(told[0][-1][MEDIAN]).all()


def test_within_a_day_the_rest_of_it_and_the_next_come_from_the_last_whole_day():
    history = history_of(days(40).ravel(), 3600.0)
    whole = NextDay(np.arange(1, 49)).update(history.until(39 * 24))
    later = NextDay(np.arange(1, 43)).update(history.until(39 * 24 + 6))
    assert later == pytest.approx(whole[6:])


@pytest.mark.parametrize("first_day, hours", [("2024-03-30", (24, 23, 24)), ("2024-10-26", (24, 25, 24))])
def test_days_of_the_clock_change_have_24_prices(first_day, hours):
    berlin_midnight = {"2024-03-30": datetime(2024, 3, 29, 23, tzinfo=UTC), "2024-10-26": datetime(2024, 10, 25, 22, tzinfo=UTC)}[first_day]
    values = np.concatenate([np.full(h, 10.0 * (i + 1)) for i, h in enumerate(hours)])
    history = history_of(values, 3600.0, round(berlin_midnight.timestamp() / 3600), "Europe/Berlin")
    table, first = local_days(history)
    assert table == pytest.approx(np.repeat([[10.0], [20.0], [30.0]], 24, axis=1))
    assert first == datetime.fromisoformat(first_day).toordinal()


def test_a_hole_ends_the_piece_of_days_and_an_incomplete_day_is_left_out():
    values = np.tile(np.arange(24.0), 10)
    values[3 * 24 + 5 : 3 * 24 + 9] = np.nan
    table, first = local_days(history_of(values[: 9 * 24 + 13], 3600.0))
    assert len(table) == 5 and first == datetime(1970, 1, 5).toordinal()
    assert local_days(history_of(np.empty(0), 3600.0))[0].shape == (0, 24)
