"""Prices ahead: nothing of the future, better than the day before, honest quantiles, and an answer to every kind of bad history."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from ems.forecast.exogenous import Ahead
from ems.forecast.price import RealTime, leads_to
from ems.forecast.price_source import ForecastPrices
from ems.forecast.protocol import LEVEL_ARRAY, LEVELS, MEDIAN
from ems.signals.prices import DAY_AHEAD, PriceBook, PriceRow
from tests.forecast.market import DAY, FIRST, STEP_S, history, prices, published

LEADS = np.array([1, 3, 12, 24])
LOW, HIGH = -250.0, 5000.0


def said(values, ends, ahead=None):
    forecaster = RealTime(LEADS, STEP_S, LOW, HIGH)
    forecaster.ahead = ahead or Ahead.nothing()
    known = history(values)
    return np.array([forecaster.update(known.until(FIRST + end)).values for end in ends])


def test_poisoning_the_future_changes_no_earlier_forecast():
    cut = 7 * DAY + 10  # tomorrow's prices are not published yet
    values, ends = prices(12), range(5 * DAY, cut + 1)
    poisoned = values.copy()
    poisoned[cut:] = 4000.0
    ahead = published(values)
    late = Ahead(ahead.first, np.where(ahead.known_from > FIRST + cut, 4000.0, ahead.values), ahead.known_from)
    assert (said(values, ends) == said(poisoned, ends)).all()
    assert (said(values, ends, ahead) == said(poisoned, ends, late)).all()


def test_a_day_ahead_price_counts_from_its_publication_on():
    values = prices(12)
    ahead = published(values)
    end = 10 * DAY + DAY // 2  # tomorrow is published at this moment
    raised = Ahead(ahead.first, np.where(ahead.known_from == FIRST + end, ahead.values + 200.0, ahead.values), ahead.known_from)
    before, after = (said(values, range(4 * DAY, end + 1), a)[-2:, MEDIAN, -1] for a in (ahead, raised))
    assert before[0] == after[0]
    assert after[1] > before[1] + 20.0


def test_the_median_beats_the_day_before_and_a_published_price_helps():
    values, ends = prices(40), np.arange(20 * DAY, 39 * DAY)
    actual = values[ends[:, None] + LEADS - 1]
    plain = np.abs(said(values, ends)[:, MEDIAN] - actual).mean(axis=0)
    informed = np.abs(said(values, ends, published(values))[:, MEDIAN] - actual).mean(axis=0)
    day_ago = np.abs(values[ends[:, None] + LEADS - 1 - DAY] - actual).mean(axis=0)
    assert (plain < 0.95 * day_ago).all()
    assert (informed[2:] < 0.95 * plain[2:]).all()


def test_quantiles_hold_as_often_as_they_promise_also_among_spikes():
    values, ends = prices(80, spikes=0.02), np.arange(20 * DAY, 79 * DAY)
    actual = values[ends[:, None] + LEADS - 1]
    quantiles = said(values, ends)
    below = (actual[:, None, :] <= quantiles).mean(axis=0)
    assert np.abs(below - LEVEL_ARRAY[:, None]).max() < 0.07
    assert (np.diff(quantiles, axis=1) >= 0.0).all()
    assert quantiles.min() >= LOW and quantiles.max() <= HIGH


@pytest.mark.parametrize(
    "values, reason",
    [
        (np.empty(0), "no history"),
        (np.full(5 * DAY, np.nan), "no history"),
        (prices(2)[:30], "says nothing finite"),
        (prices(1)[:5], "shorter"),
        (np.full(5 * DAY, 30.0), "constant"),
        (np.append(prices(5), np.full(3 * DAY, np.nan)), "no value for"),
    ],
)
def test_a_history_that_says_too_little_gets_the_fallback_and_a_named_reason(values, reason):
    forecast = RealTime(LEADS, STEP_S, LOW, HIGH).update(history(values))
    assert reason in forecast.reason
    assert np.isfinite(forecast.values).all()
    assert (forecast.q(0.99) > forecast.q(0.01)).all()


def test_missing_values_widen_the_quantiles_until_the_gap_is_over():
    values = prices(30, spikes=0.0)
    holed = values.copy()
    holed[20 * DAY : 20 * DAY + 6] = np.nan
    ends = np.arange(12 * DAY, 20 * DAY + 40)
    clean, gap = said(values, ends), said(holed, ends)

    def width(q, end):
        return (q[end - ends[0], LEVELS.index(0.9)] - q[end - ends[0], LEVELS.index(0.1)]).mean()

    during, after = 20 * DAY + 6, 20 * DAY + 36
    assert width(gap, during) > 1.3 * width(clean, during)
    assert width(gap, after) < 1.15 * width(clean, after)


def test_leads_reach_every_hour_of_the_horizon():
    leads = leads_to(900.0, 48)
    assert list(leads[:5]) == [1, 2, 3, 4, 8] and leads[-1] == 192


NOW = datetime(2024, 2, 10, 6, 0, tzinfo=UTC)
QUARTER = timedelta(minutes=15)


def rows(days: int):
    """Real-time rows of the days before NOW, a quarter each, known at its end."""
    values = np.repeat(prices(days), 4)
    begin = NOW - QUARTER * len(values)
    return [PriceRow(begin + QUARTER * i, begin + QUARTER * (i + 1), begin + QUARTER * (i + 1), v / 1000) for i, v in enumerate(values)]


def hours(n: int = 48):
    return [NOW + timedelta(hours=i) for i in range(n)], [1.0] * n


def test_the_plan_is_given_the_books_prices_until_three_days_are_known():
    source = ForecastPrices()
    source.add(rows(2))
    assert (source.forecast(NOW, *hours()) == PriceBook.forecast(source, NOW, *hours())).all()
    assert source.forecast_now is None


def test_the_plan_is_given_the_forecasts_mean_and_past_steps_their_known_price():
    source = ForecastPrices()
    source.add(rows(5))
    starts = [NOW - QUARTER * 2, NOW - QUARTER, *hours()[0]]
    expected = source.forecast(NOW, starts, [0.25, 0.25, *hours()[1]])
    assert source.forecast_now is not None
    assert expected[:2] == pytest.approx([r.price_per_kwh for r in rows(5)[-2:]])
    assert np.isfinite(expected).all()
    low, high = source.forecast_now.q(0.01).min(), source.forecast_now.q(0.99).max()
    assert ((expected[2:] >= low) & (expected[2:] <= high)).all()


def test_prices_not_yet_known_change_nothing_the_plan_is_given():
    clean, poisoned = ForecastPrices(), ForecastPrices()
    day_ahead = [
        PriceRow(NOW + timedelta(hours=h), NOW + timedelta(hours=h + 1), NOW + timedelta(seconds=1), 3.0, DAY_AHEAD) for h in range(48)
    ]
    late = [PriceRow(NOW + QUARTER * i, NOW + QUARTER * (i + 1), NOW + QUARTER * (i + 1), 4.0) for i in range(96)]
    clean.add(rows(5))
    poisoned.add([*rows(5), *day_ahead, *late])
    assert (clean.forecast(NOW, *hours()) == poisoned.forecast(NOW, *hours())).all()


def test_a_price_known_ahead_is_passed_on_as_it_is():
    source = ForecastPrices()
    told = [PriceRow(NOW + timedelta(hours=h), NOW + timedelta(hours=h + 1), NOW - timedelta(hours=10), 0.5 + h) for h in range(12)]
    source.add([*rows(5), *told])
    expected = source.forecast(NOW, *hours(24))
    assert source.forecast_now is not None
    assert expected[:12] == pytest.approx(0.5 + np.arange(12.0))
    assert (expected[12:] < 0.5).all()


def test_old_prices_are_left_to_the_book():
    source = ForecastPrices()
    source.add(rows(5))
    later = NOW + timedelta(hours=9)
    starts = [later + timedelta(hours=i) for i in range(24)]
    assert (source.forecast(later, starts, [1.0] * 24) == PriceBook.forecast(source, later, starts, [1.0] * 24)).all()


def five_minute_rows(days: int, known_early: bool):
    """Real-time rows of the days before NOW and the one that begins at NOW, 5 min each, known when they begin or when they end."""
    values = np.append(np.repeat(prices(days), 12), 77.0)
    step, begin = timedelta(minutes=5), NOW - timedelta(days=days)
    return [
        PriceRow(begin + step * i, begin + step * (i + 1), begin + step * (i + (not known_early)), v / 1000) for i, v in enumerate(values)
    ]


def fine(n: int = 12):
    return [NOW + timedelta(minutes=5 * i) for i in range(n)], [1 / 12] * n


def test_a_market_settled_every_five_minutes_is_forecast_in_its_own_cells():
    source = ForecastPrices()
    source.add(five_minute_rows(5, known_early=False))
    assert np.isfinite(source.forecast(NOW, *fine())).all()
    assert source.forecast_now is not None and source.forecast_now.step_s == 300.0
    assert source.forecast_now.made_at == NOW
    assert source.basis(NOW, *fine()) == ("forecast",) * 12


def test_a_price_known_when_its_interval_begins_is_passed_on_exactly_and_learnt_from():
    source = ForecastPrices()
    source.add(five_minute_rows(5, known_early=True))
    expected = source.forecast(NOW, *fine())
    assert expected[0] == 0.077
    assert source.forecast_now is not None and source.forecast_now.made_at == NOW + timedelta(minutes=5)
    assert source.basis(NOW, *fine())[:2] == ("real time known", "forecast")
    calm = ForecastPrices()
    calm.add(five_minute_rows(5, known_early=True)[:-1])
    assert expected[1] > calm.forecast(NOW, *fine())[1]  # a high price lasts a while


def test_a_day_ahead_price_published_within_the_running_interval_is_not_seen_at_its_beginning():
    clean, poisoned = ForecastPrices(), ForecastPrices()
    known = [replace(r, available_at=r.valid_from) for r in [*rows(5), PriceRow(NOW, NOW + QUARTER, NOW, 0.03)]]
    later = [PriceRow(t, t + timedelta(hours=1), NOW + timedelta(minutes=5), 3.0, DAY_AHEAD) for t in hours()[0]]
    clean.add(known)
    poisoned.add([*known, *later])
    assert (clean.forecast(NOW, *hours()) == poisoned.forecast(NOW, *hours())).all()
    after = NOW + QUARTER
    assert (clean.forecast(after, *hours()) != poisoned.forecast(after, *hours())).any()


def test_a_year_of_published_prices_is_not_forgotten_before_its_time():
    source = ForecastPrices()
    told = [
        PriceRow(NOW + h, NOW + h + timedelta(hours=1), NOW - timedelta(hours=10), 0.4, DAY_AHEAD) for h in map(timedelta, range(-9, 3))
    ]
    far = NOW + timedelta(days=300)
    source.add([*rows(8), *told, PriceRow(far, far + timedelta(hours=1), far - timedelta(hours=10), 0.4, DAY_AHEAD)])
    source.forecast(NOW, *hours())
    assert np.isfinite(source._ahead.at(np.array([int(NOW.timestamp()) // 900]), 10**9)).all()
