"""What the plan may act on of a price feed that lies, and that nothing of a true one is lost for long."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ems.signals.price_watch import FAR, STUCK_AFTER, PriceWatch
from ems.signals.prices import DAY_AHEAD, REAL_TIME, PriceRow

BEGIN = datetime(2024, 5, 6, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
WEEK = 4 * 24 * 8  # quarters of eight days


def rows(prices: "list[float] | np.ndarray", first: int = 0, source: str = REAL_TIME) -> list[PriceRow]:
    starts = [BEGIN + QUARTER * (first + i) for i in range(len(prices))]
    return [PriceRow(s, s + QUARTER, s + QUARTER, float(p), source) for s, p in zip(starts, prices, strict=True)]


def ordinary(n: int, seed: int = 3) -> np.ndarray:
    return 0.012 + 0.006 * np.random.default_rng(seed).random(n)


def watching(n: int = WEEK, source: str = REAL_TIME) -> PriceWatch:
    watch = PriceWatch()
    assert len(watch.passed(rows(ordinary(n), source=source))) == n and watch.notes() == ()
    return watch


def one_by_one(watch: PriceWatch, prices: "list[float] | np.ndarray", first: int = WEEK) -> list[float]:
    return [r.price_per_kwh for row in rows(prices, first) for r in watch.passed([row])]


def test_a_single_price_far_beyond_the_week_never_reaches_the_plan_and_its_alarm_ends_with_the_next():
    watch = watching()
    assert one_by_one(watch, [4.9]) == []
    [note] = watch.notes()
    assert note.startswith("real_time price of 4.9 per kWh from 2024-05-14 00:00Z: ") and "times what the week before held" in note
    assert one_by_one(watch, [0.031], WEEK + 1) == [0.031] and watch.notes() == ()
    assert one_by_one(watch, [-4.9, 0.03], WEEK + 2) == [0.03]


def test_a_spike_is_believed_with_its_second_interval_and_nothing_of_it_is_lost():
    watch = watching()
    spike = [1.2, 4.9, 5.0, 3.0, 0.9, 0.04]
    assert one_by_one(watch, spike) == spike and watch.notes() == ()


def test_the_same_interval_told_twice_confirms_nothing_and_its_correction_is_believed():
    watch = watching()
    [odd] = rows([4.9], WEEK)
    assert watch.passed([odd]) == watch.passed([odd]) == [] and watch.notes()
    [right] = rows([0.049], WEEK)
    assert watch.passed([right]) == [right] and watch.notes() == ()


@pytest.mark.parametrize("factor", [1000.0, 0.001])
def test_another_unit_is_named_and_withheld_while_it_lasts(factor: float):
    watch = watching()
    wrong = ordinary(96, seed=4) * factor
    in_one = watching()
    assert in_one.passed(rows(wrong, WEEK)) == [] and "another unit than the week before" in in_one.notes()[0]
    taken = one_by_one(watch, wrong)
    assert len(taken) <= 11 and watch.notes() and (factor < 1.0 or taken == [])
    back = ordinary(24, seed=5)
    assert one_by_one(watch, back, WEEK + 96)[-12:] == list(back[-12:]) and watch.notes() == ()


def test_a_market_that_changed_for_good_is_believed_after_the_memory():
    watch = watching()
    taken = one_by_one(watch, 0.001 * ordinary(WEEK + 96, seed=4))
    assert len(taken) >= 80 and watch.notes() == ()


def test_a_stuck_price_is_named_and_withheld_until_it_moves():
    watch = watching()
    taken = one_by_one(watch, [0.0417] * 4 * 20)
    assert len(taken) * QUARTER == STUCK_AFTER
    assert watch.notes() == (watch.notes()[0],) and "has not moved for 20 h" in watch.notes()[0]
    assert one_by_one(watch, [0.0418], WEEK + 80) == [0.0418] and watch.notes() == ()


def test_a_stuck_price_stays_withheld_for_days_and_told_again():
    watch = watching()
    frozen = [0.0417] * 4 * 72
    assert len(one_by_one(watch, frozen)) * QUARTER == STUCK_AFTER and "has not moved for 72 h" in watch.notes()[0]
    assert one_by_one(watch, frozen[:100], WEEK + 100) == [] and watch.notes() != ()


def test_one_price_of_far_ahead_does_not_take_the_history_away():
    watch = watching()
    far = BEGIN + timedelta(days=24)
    watch.passed([PriceRow(far, far + QUARTER, BEGIN + timedelta(days=8), 0.03, REAL_TIME)])
    assert one_by_one(watch, [4.9]) == [] and watch.notes()


def test_a_market_at_its_cap_for_days_is_told_and_believed_to_its_end():
    watch = watching()
    scarcity = [0.4, 2.0, *[5.0] * 4 * 80, 3.0, 0.02]
    taken = one_by_one(watch, scarcity[:90])
    assert taken == scarcity[:90] and "has not moved for 22 h; a cap?" in watch.notes()[0] and "withheld" not in watch.notes()[0]
    assert one_by_one(watch, scarcity[90:], WEEK + 90) == scarcity[90:] and watch.notes() == ()


def test_a_time_of_use_price_that_rests_every_night_and_weekend_is_not_stuck():
    day = [0.08] * 28 + [0.14] * 40 + [0.08] * 28
    watch = PriceWatch()
    for k in range(28):
        prices = [0.08] * 96 if k % 7 in (5, 6) else day
        assert len(one_by_one(watch, prices, 96 * k)) == 96 and watch.notes() == ()


def test_sources_are_judged_apart():
    watch = watching()
    ahead = rows([4.9], WEEK, DAY_AHEAD)
    assert watch.passed(ahead) == ahead  # nothing is known of it yet
    assert watch.passed([*rows([4.9], WEEK), *rows([4.8], WEEK + 1, DAY_AHEAD)]) == rows([4.8], WEEK + 1, DAY_AHEAD)


def test_what_makes_no_sense_is_left_to_the_book_and_spoils_nothing():
    watch = watching()
    far = BEGIN + timedelta(days=4000)
    odd = [PriceRow(far, far + QUARTER, BEGIN, 0.03), *rows([float("nan")], WEEK)]
    assert watch.passed(odd) == odd
    assert one_by_one(watch, [4.9]) == [] and watch.notes()


@pytest.mark.parametrize("seed", range(12))
def test_whatever_comes_nothing_is_made_up_and_ordinary_prices_always_pass(seed: int):
    rng = np.random.default_rng(seed)
    watch = watching()
    prices = ordinary(60, seed=seed + 100)
    odd = rng.random(60) < 0.2
    prices[odd] = rng.choice([-1.9, 0.9, 5.0, 19.0, 0.0], size=int(odd.sum()))
    given = rows(prices, WEEK)
    passed = [r for row in given for r in watch.passed([row])]
    assert set(passed) <= set(given) and len(passed) == len(set(passed))
    assert {r for r in given if abs(r.price_per_kwh) < FAR * 0.02} <= set(passed)


def test_of_the_true_prices_of_two_months_hardly_one_is_held_back(data_dir: Path):
    table = pd.read_parquet(data_dir / "prices" / "ercot_hubavg_rt_15min_2024.parquet").iloc[: 2 * 30 * 96]
    watch = PriceWatch()
    passed = one_by_one(watch, table["rt_price_usd_per_mwh"].to_numpy(float) / 1000.0, 0)
    assert len(table) - len(passed) <= 2
