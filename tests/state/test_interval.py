"""The billing interval as the utility meter sees it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems.state.hold import DayHold, PeakHold, ValleyHold
from ems.state.interval import IntervalMeter

START = datetime(2024, 8, 19, 5, tzinfo=UTC)


def test_the_month_peak_is_the_highest_interval_mean_not_the_highest_power() -> None:
    meter = IntervalMeter(15, "America/Chicago")
    for k in range(1800):
        meter.update(START + timedelta(seconds=k), 2000.0 if k % 10 == 0 else 1000.0)
    meter.update(START + timedelta(seconds=1800), 0.0)
    assert meter.peak_kw == pytest.approx(1100.0, abs=0.1)


def test_a_peak_metered_before_the_site_was_taken_over_counts_in_its_month() -> None:
    meter = IntervalMeter(15, "America/Chicago", {"2024-08": 1400.0})
    meter.update(START, 900.0)
    assert meter.peak_kw == 1400.0
    told_later = IntervalMeter(15, "America/Chicago", {"2024-08": 1500.0})  # the file was put right, the process restarted
    told_later.restore(meter.encode())
    assert told_later.peak_kw == 1500.0
    told_later.update(START + timedelta(days=20), 900.0)
    assert told_later.peak_kw == 0.0


@given(st.lists(st.floats(0, 3000), min_size=30, max_size=120), st.integers(5, 60))
def test_the_peak_equals_an_independent_recomputation(powers: list[float], step_s: int) -> None:
    meter = IntervalMeter(5, "UTC")
    for k, kw in enumerate(powers):
        meter.update(START + timedelta(seconds=k * step_s), kw)
    seconds = [kw for kw in powers[1:] for _ in range(step_s)]  # of two readings the later one says what flowed between them
    means = [sum(seconds[i : i + 300]) / 300 for i in range(0, len(seconds) - 299, 300)]
    closed = len(powers[1:]) * step_s // 300
    assert meter.peak_kw == pytest.approx(max(means[:closed], default=0.0), abs=1e-6)


def test_storage_that_turns_round_at_the_start_of_an_interval_is_counted_from_its_start() -> None:
    meter = IntervalMeter(15, "UTC")
    for minute in range(31):
        meter.update(START + timedelta(minutes=minute), 650.0 if minute <= 15 else 1250.0)  # ordered right after the reading at 15
    assert meter.peak_kw == pytest.approx(1250.0)


def test_a_worst_case_assumed_after_some_silence_is_not_put_on_the_seconds_before() -> None:
    meter = IntervalMeter(15, "UTC")
    for second in (*range(0, 500), *range(550, 902)):
        meter.update(START + timedelta(seconds=second), 2000.0 if second == 550 else 1000.0, is_metered=second != 550)
    assert meter.peak_kw == pytest.approx(1000.0, abs=2.0)


def test_what_may_still_flow_is_the_energy_left_in_the_interval() -> None:
    meter = IntervalMeter(15, "UTC")
    for k in range(11):
        meter.update(START + timedelta(minutes=k), 1200.0)
    assert meter.allowed_kw(START + timedelta(minutes=10), 1000.0) == pytest.approx(600.0)
    assert meter.allowed_kw(START + timedelta(minutes=10), 1200.0) == pytest.approx(1200.0)


@pytest.mark.parametrize("seconds", [60, 839, 870, 899])
def test_an_interval_on_its_way_to_the_goal_may_go_on_to_its_last_second(seconds: int) -> None:
    """Once the last minute counted as a whole one: half of the goal was allowed with half a minute left, and storage was emptied for it."""
    meter = IntervalMeter(15, "UTC")
    for k in range(0, seconds + 1):
        meter.update(START + timedelta(seconds=k), 1000.0)
    at = START + timedelta(seconds=seconds)
    assert meter.allowed_kw(at, 1000.0) == pytest.approx(1000.0)
    assert meter.allowed_kw(at, 990.0) < 990.0
    assert meter.allowed_kw(at, 1010.0) > 1010.0


def test_what_flowed_too_much_is_answered_within_seconds_and_what_flowed_too_little_over_a_minute() -> None:
    meter = IntervalMeter(15, "UTC")
    for k in range(0, 891):
        meter.update(START + timedelta(seconds=k), 1000.0)
    at = START + timedelta(seconds=890)
    assert meter.allowed_kw(at, 999.0) == pytest.approx(999.0 - 890.0 / 15.0)
    assert meter.allowed_kw(at, 1001.0) == pytest.approx(1001.0 + 890.0 / 60.0)


def test_a_month_that_rolls_over_in_local_time_starts_without_a_peak() -> None:
    meter = IntervalMeter(15, "America/Chicago")
    begin = datetime(2024, 9, 1, 4, 0, tzinfo=UTC)  # 23:00 on 31 August in Chicago
    for k in range(0, 5400, 10):
        meter.update(begin + timedelta(seconds=k), 1500.0 if k < 3600 else 700.0)
    assert meter.month == "2024-09"
    assert meter.peak_kw == pytest.approx(700.0, abs=1.0)


def test_a_long_gap_is_not_filled_and_an_interval_hardly_seen_sets_no_peak() -> None:
    meter = IntervalMeter(15, "UTC")
    meter.update(START, 3000.0)
    meter.update(START + timedelta(hours=1), 100.0)
    assert meter.peak_kw == 0.0


def test_it_survives_a_restart() -> None:
    meter, fresh = IntervalMeter(15, "UTC"), IntervalMeter(15, "UTC")
    for k in range(100):
        meter.update(START + timedelta(seconds=10 * k), 900.0 + k)
    fresh.restore(meter.encode())
    assert fresh.encode() == meter.encode()


def test_rolling_extremes_forget_after_their_window() -> None:
    peak, valley, day = PeakHold(10.0), ValleyHold(10.0), DayHold()
    values = [(0, 5.0), (4, 9.0), (9, 3.0), (14, 2.0), (15, 2.0), (26, 1.0)]
    seen = [(peak.update(START + timedelta(seconds=t), v), valley.update(START + timedelta(seconds=t), v)) for t, v in values]
    assert seen == [(5.0, 5.0), (9.0, 5.0), (9.0, 3.0), (9.0, 2.0), (3.0, 2.0), (1.0, 1.0)]
    assert day.update(START, 900.0) == 900.0
    assert day.update(START + timedelta(hours=20), 100.0) == 900.0
    assert day.update(START + timedelta(hours=25), 100.0) == 100.0


def metered(second: int) -> tuple[float, float]:
    """Import and count of a load that rises within each interval, at a second."""
    kw = [800.0 + 400.0 * (k % 900) / 900.0 for k in range(second + 1)]
    return kw[-1], 5000.0 + sum(kw[:-1]) / 3600.0


@pytest.mark.parametrize(("away", "is_exact"), [((200, 700), True), ((850, 1100), False)])
def test_what_was_imported_while_nobody_looked_comes_from_the_meters_count(away: tuple[int, int], is_exact: bool) -> None:
    meter = IntervalMeter(15, "UTC")
    for second in range(0, 1900, 5):
        if away[0] < second < away[1]:
            continue
        if second == away[1]:  # another process
            kept, meter = meter.encode(), IntervalMeter(15, "UTC")
            meter.restore(kept)
        meter.update(START + timedelta(seconds=second), *metered(second))
    true_kw = sum(metered(second)[0] for second in range(900)) / 900.0
    assert meter.peak_kw == pytest.approx(true_kw, rel=0.005 if is_exact else 0.05)


@pytest.mark.parametrize("counted_kwh", [None, 12.0, 9e9])
def test_a_count_that_is_absent_was_reset_or_is_absurd_fills_no_gap(counted_kwh: float | None) -> None:
    meter = IntervalMeter(15, "UTC")
    for second in range(600):
        meter.update(START + timedelta(seconds=second), 1000.0, 5000.0 + second / 3.6)
    for second in (800, 899, 901):
        meter.update(START + timedelta(seconds=second), 1000.0, None if counted_kwh is None else counted_kwh + second / 3.6)
    assert meter.peak_kw == pytest.approx(1000.0)
