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


@given(st.lists(st.floats(0, 3000), min_size=30, max_size=120), st.integers(5, 60))
def test_the_peak_equals_an_independent_recomputation(powers: list[float], step_s: int) -> None:
    meter = IntervalMeter(5, "UTC")
    for k, kw in enumerate(powers):
        meter.update(START + timedelta(seconds=k * step_s), kw)
    seconds = [kw for kw in powers[:-1] for _ in range(step_s)]
    means = [sum(seconds[i : i + 300]) / 300 for i in range(0, len(seconds) - 299, 300)]
    closed = len(powers[:-1]) * step_s // 300
    assert meter.peak_kw == pytest.approx(max(means[:closed], default=0.0), abs=1e-6)


def test_what_may_still_flow_is_the_energy_left_in_the_interval() -> None:
    meter = IntervalMeter(15, "UTC")
    for k in range(11):
        meter.update(START + timedelta(minutes=k), 1200.0)
    assert meter.allowed_kw(START + timedelta(minutes=10), 1000.0) == pytest.approx(600.0)
    assert meter.allowed_kw(START + timedelta(minutes=10), 1200.0) == pytest.approx(1200.0)


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
