"""What price to expect, from what was known."""

from datetime import UTC, datetime, time, timedelta

import numpy as np
import pytest

from ems.signals import series
from ems.signals.prices import DAY_AHEAD, PriceBook, PriceRow, day_ahead_known_at

NOW = datetime(2024, 5, 6, 12, 0, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
HOUR = timedelta(hours=1)


def real_time(start: datetime, price: float, available_at: datetime | None = None) -> PriceRow:
    return PriceRow(start, start + QUARTER, available_at or start + QUARTER, price)


def day_ahead(start: datetime, price: float, available_at: datetime | None = None) -> PriceRow:
    return PriceRow(start, start + HOUR, available_at or start - timedelta(hours=18), price, DAY_AHEAD)


def hourly(n: int) -> tuple[tuple[datetime, ...], tuple[float, ...]]:
    return tuple(NOW + HOUR * i for i in range(n)), (1.0,) * n


def book(*rows: PriceRow) -> PriceBook:
    prices = PriceBook()
    prices.add(rows)
    return prices


def two_days(seed: int = 5) -> list[PriceRow]:
    rng = np.random.default_rng(seed)
    quarters = [real_time(NOW - QUARTER * i, float(rng.normal(0.03, 0.02))) for i in range(1, 192)]
    return quarters + [day_ahead(NOW + HOUR * i, float(rng.normal(0.03, 0.01))) for i in range(-48, 12)]


def test_a_flat_market_is_expected_to_stay_flat():
    rows = [real_time(NOW - QUARTER * i, 0.03) for i in range(1, 200)] + [day_ahead(NOW + HOUR * i, 0.03) for i in range(-48, 24)]
    assert book(*rows).forecast(NOW, *hourly(48)) == pytest.approx(np.full(48, 0.03))


def test_prices_not_yet_known_change_nothing():
    poison = [real_time(NOW + QUARTER * i, 5.0) for i in range(200)]
    poison += [real_time(NOW - QUARTER, 4.0, NOW + HOUR)]
    poison += [day_ahead(NOW + HOUR * i, 5.0, NOW + timedelta(seconds=1)) for i in range(12, 60)]
    clean, poisoned = book(*two_days()), book(*two_days(), *poison)
    assert (clean.forecast(NOW, *hourly(48)) == poisoned.forecast(NOW, *hourly(48))).all()
    assert (clean.forecast(NOW + HOUR, *hourly(48)) != poisoned.forecast(NOW + HOUR, *hourly(48))).any()


def test_going_back_in_time_forgets_what_came_later():
    prices = book(*two_days())
    before = prices.forecast(NOW - HOUR * 5, *hourly(6))
    prices.forecast(NOW, *hourly(6))
    assert (prices.forecast(NOW - HOUR * 5, *hourly(6)) == before).all()


def test_rows_that_arrive_in_pieces_and_out_of_order_mean_the_same():
    rows = two_days()
    pieces = PriceBook()
    for row in reversed(rows):
        pieces.add([row])
        pieces.forecast(NOW - HOUR * 30, *hourly(2))
    assert (pieces.forecast(NOW, *hourly(48)) == book(*rows).forecast(NOW, *hourly(48))).all()


def test_the_newest_known_version_of_a_price_counts():
    prices = book(day_ahead(NOW, 0.02, NOW - HOUR * 3), day_ahead(NOW, 0.04, NOW - HOUR), day_ahead(NOW, 0.06, NOW + HOUR))
    assert prices.forecast(NOW, (NOW,), (1.0,)) == pytest.approx([0.04])
    assert prices.forecast(NOW - HOUR * 2, (NOW,), (1.0,)) == pytest.approx([0.02])


def test_a_step_gets_the_mean_of_the_prices_inside_it():
    prices = book(*(PriceRow(NOW + QUARTER * i, NOW + QUARTER * (i + 1), NOW, p) for i, p in enumerate((0.01, 0.02, 0.03, 0.06))))
    assert prices.forecast(NOW, (NOW,), (1.0,)) == pytest.approx([0.03])
    assert prices.forecast(NOW, (NOW, NOW + QUARTER), (0.25, 0.5)) == pytest.approx([0.01, 0.025])


def test_a_spike_is_expected_to_fade_and_a_small_spread_to_stay():
    known = [day_ahead(NOW + HOUR * i, 0.03) for i in range(-2, 24)]
    spike = book(*known, real_time(NOW - QUARTER, 2.03)).forecast(NOW, *hourly(12)) - 0.03
    small = book(*known, real_time(NOW - QUARTER, 0.04)).forecast(NOW, *hourly(12)) - 0.03
    assert 0.1 < spike[0] < 1.0 and spike[3] < 0.05
    assert 0.007 < small[0] < 0.01 and small[3] > 0.003


def test_a_high_day_ahead_price_is_not_taken_at_its_word():
    prices = book(day_ahead(NOW, 1.08)).forecast(NOW, (NOW,), (1.0,))
    assert 0.4 < prices[0] < 0.8


def test_beyond_the_day_ahead_the_same_hours_of_the_days_before_are_expected():
    rows = [day_ahead(NOW + HOUR * i, 0.02 if (NOW + HOUR * i).hour < 12 else 0.05) for i in range(-48, 3)]
    assert book(*rows).forecast(NOW, *hourly(24)) == pytest.approx([0.05] * 12 + [0.02] * 12)


def test_without_a_day_ahead_market_the_profile_of_real_time_and_then_the_last_price_is_expected():
    evening = [real_time(NOW - timedelta(days=1) + QUARTER * i, 0.08) for i in range(16)]
    assert book(*evening).forecast(NOW, *hourly(4)) == pytest.approx([0.08] * 4)
    assert book(real_time(NOW - QUARTER, 0.04)).forecast(NOW, *hourly(4)) == pytest.approx([0.04] * 4)


def test_without_any_price_the_declared_fallback_is_used_and_counted_never_zero():
    prices = PriceBook(fallback_per_kwh=0.07)
    assert prices.forecast(NOW, *hourly(3)) == pytest.approx([0.07] * 3)
    assert prices.data_quality()["forecasts_on_fallback"] == 1


def test_faults_of_a_feed_are_counted_and_none_becomes_zero():
    rows = [real_time(NOW - QUARTER * i, 0.03) for i in range(20, 0, -1)]
    rows[5:8] = []  # a gap
    rows += [rows[0], real_time(NOW - QUARTER * 2, float("nan"), NOW), real_time(NOW - QUARTER * 3, 9999.0, NOW)]
    rows += [PriceRow(NOW, NOW - HOUR, NOW, 0.1), real_time(NOW - QUARTER * 30, -0.02)]
    quality = book(*rows).data_quality()
    expected = {"duplicate": 1, "missing": 1, "absurd": 1, "malformed": 1, "negative": 1, "backward": 1, "gaps": 2, "rows": 18}
    assert {k: quality[f"real_time_{k}"] for k in expected} == expected
    assert book(*rows).forecast(NOW, *hourly(2)) == pytest.approx([0.03, 0.03])


def test_a_negative_price_is_a_price():
    assert book(day_ahead(NOW, -0.02)).forecast(NOW, (NOW,), (1.0,)) == pytest.approx([-0.02])


def test_the_actual_price_is_the_settled_one_and_none_where_there_is_none():
    prices = book(day_ahead(NOW, 0.03), real_time(NOW, 4.5, NOW + HOUR * 5))
    assert prices.actual(NOW + timedelta(minutes=7)) == 4.5
    assert prices.actual(NOW + timedelta(minutes=20)) == 0.03
    assert prices.actual(NOW + HOUR * 3) is None


def test_a_feed_without_end_is_kept_to_its_newest_part(monkeypatch):
    monkeypatch.setattr(series, "MOST_ROWS", 100)
    prices = PriceBook()
    for i in range(300):
        prices.add([real_time(NOW + QUARTER * i, 0.03)])
        prices.forecast(NOW + QUARTER * i, (NOW,), (1.0,))
    assert prices.actual(NOW) is None
    assert prices.actual(NOW + QUARTER * 299) == 0.03
    assert len(prices._real_time._rows) <= 100


def test_a_naive_instant_is_refused():
    with pytest.raises(ValueError, match="time zone"):
        book(PriceRow(datetime(2024, 1, 1), NOW, NOW, 0.03))


@pytest.mark.parametrize(("day", "hours"), [((2024, 3, 10), 23), ((2024, 11, 3), 25), ((2024, 8, 20), 24)])
def test_every_hour_of_a_local_day_is_published_on_the_day_before(day: tuple[int, int, int], hours: int):
    first = datetime(*day, 6, tzinfo=UTC) - timedelta(hours=2)
    published = [day_ahead_known_at(first + HOUR * i, time(13, 30), "America/Chicago") for i in range(40)]
    before = datetime(*day, 12, tzinfo=UTC) - timedelta(days=1)
    that_day = [p for p in published if before < p < before + timedelta(days=1)]
    assert len(that_day) == hours
    assert len(set(that_day)) == 1
    assert (that_day[0].hour, that_day[0].minute) == (13, 30)


@pytest.mark.parametrize("change", [datetime(2024, 3, 10, 8, tzinfo=UTC), datetime(2024, 11, 3, 7, tzinfo=UTC)])
def test_a_forecast_across_a_clock_change_has_a_price_in_every_step(change: datetime):
    hours = [change + HOUR * i for i in range(-60, 20)]
    rows = [PriceRow(h, h + HOUR, day_ahead_known_at(h, time(13, 30), "America/Chicago"), 0.02 + h.hour / 1e3, DAY_AHEAD) for h in hours]
    starts = tuple(change + HOUR * i for i in range(20))
    assert book(*rows).forecast(change, starts, (1.0,) * 20) == pytest.approx([0.02 + s.hour / 1e3 for s in starts])


def test_on_real_prices_the_expectation_beats_day_ahead_and_persistence(data_dir):
    prices = real_book(data_dir)
    errors = []
    for k in range(0, 60 * 24, 7):
        now = datetime(2024, 9, 1, tzinfo=UTC) + HOUR * k
        target = now + QUARTER * 2
        expected = prices.forecast(now, (target,), (0.25,))[0]
        persistence, known = prices.actual(now - QUARTER), prices._day_ahead.whole().at(np.array([target.timestamp()]))[0]
        errors.append([abs(prices.actual(target) - x) for x in (expected, persistence, known)])
    ours, persistence, known = np.mean(errors, axis=0)
    assert ours < persistence and ours < known


def real_book(data_dir) -> PriceBook:
    import pandas as pd

    prices = PriceBook()
    lo, hi = "2024-08-28", "2024-11-02"
    table = pd.read_parquet(data_dir / "prices/ercot_hubavg_rt_15min_2024.parquet").set_index("t_utc").iloc[:, 0][lo:hi]
    prices.add(real_time(t.to_pydatetime(), v / 1000) for t, v in table.items())
    table = pd.read_parquet(data_dir / "prices/ercot_hubavg_da_1h_2024.parquet").set_index("t_utc").iloc[:, 0][lo:hi]
    prices.add(day_ahead(t.to_pydatetime(), v / 1000) for t, v in table.items())
    return prices
