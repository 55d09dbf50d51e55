"""What a live forecaster says when readings were lost, came from a wrong clock or never were; and jobs that are told again and again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from ems.forecast.announced import AnnouncedLoad
from ems.forecast.jobs import SourceWithJobs
from ems.forecast.load import LoadForecaster
from ems.forecast.served import load_source

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
STEP = timedelta(minutes=5)
HOUR = timedelta(hours=1)


def hump(t: datetime) -> float:
    """A day that peaks at 900 kW at 14 hours."""
    return 300.0 + 600.0 * float(np.exp(-((((t.hour + t.minute / 60.0) - 14.0) / 3.5) ** 2)))


def flat(t: datetime) -> float:
    return 400.0


def fed(source: LoadForecaster | SourceWithJobs, begin: datetime, end: datetime, kw: Callable[[datetime], float | None]) -> None:
    t = begin
    while t < end:
        source.observe(t, 300.0, kw(t))
        t += STEP


def median_kw(source: LoadForecaster | SourceWithJobs, now: datetime, hours: int = 2) -> float:
    starts = [now + k * timedelta(minutes=15) for k in range(4 * hours)]
    return float(source.forecast(now, starts, [0.25] * len(starts)).q(0.5).max())


@pytest.mark.parametrize("gap_h", [8, 12, 20])
def test_the_highest_load_to_come_is_that_of_the_hours_to_come_though_the_readings_ended_long_ago(gap_h: int) -> None:
    source, last = LoadForecaster(1000.0, 100.0), MONDAY + timedelta(days=4, hours=4)
    fed(source, MONDAY, last, hump)
    before_kw = source.max_quantile(last, 2.0)
    now = last + gap_h * HOUR
    fed(source, last, now, lambda t: None)
    true_kw = max(hump(now + k * STEP) for k in range(24))
    assert before_kw < 700.0
    assert source.max_quantile(now, 2.0) >= max(true_kw, median_kw(source, now))


def test_a_source_of_power_that_nobody_measures_is_expected_to_give_nothing() -> None:
    sun, now = LoadForecaster(5000.0, 0.0, unknown_kw=0.0), MONDAY + 22 * HOUR
    assert median_kw(sun, now) == 0.0 and median_kw(LoadForecaster(5000.0, 0.0), now) == 5000.0
    fed(sun, MONDAY, now, lambda t: 0.0)
    fed(sun, now, now + 25 * HOUR, lambda t: None)
    assert median_kw(sun, now + 25 * HOUR) == 0.0


def test_readings_of_a_clock_that_was_ahead_are_no_origin_of_a_forecast() -> None:
    source, now = LoadForecaster(1000.0, 100.0), MONDAY + timedelta(days=4)
    fed(source, MONDAY, now, hump)
    fed(source, now + 48 * HOUR, now + 48 * HOUR + 3 * STEP, hump)
    later = now + 14 * HOUR
    fed(source, now, later, hump)
    band = source.forecast(later, [later + 8 * HOUR], [0.25])
    assert band.q(0.1)[0] <= hump(later + 8 * HOUR) <= band.q(0.9)[0]
    assert source.max_quantile(later, 2.0) >= 900.0


def job(start: datetime, power: float = 300.0, hours: float = 24.0, said: datetime = MONDAY, source: str = "queue") -> AnnouncedLoad:
    return AnnouncedLoad(said, start, start + hours * HOUR, power, 1.0, source)


def test_a_restart_in_the_middle_of_a_job_counts_it_once() -> None:
    """As the planner takes what the mailbox kept: announcements first."""
    start, now = MONDAY + 30 * HOUR, MONDAY + 34 * HOUR
    found = []
    for _ in range(2):
        source = load_source(1200.0, 100.0)
        source.announce([job(start)])
        fed(source, MONDAY, now, lambda t: 700.0 if t >= start else 400.0)
        found.append([source.forecast(now, [now + h * HOUR], [0.25]).q(0.5)[0] for h in (1, 21)])
    assert found[0] == found[1] == pytest.approx([700.0, 400.0], abs=25.0)


def test_many_announcements_for_later_do_not_push_out_the_next_one() -> None:
    source, now = load_source(1200.0, 100.0), MONDAY + 48 * HOUR
    fed(source, MONDAY, now, flat)
    later = [job(now + (24 + k) * HOUR, 5.0, 0.5, source=f"small-{k}") for k in range(400)]
    source.announce([job(now + HOUR, hours=4.0), *later])
    assert median_kw(source, now + HOUR) > 650.0


def test_a_job_that_is_told_again_stays_what_was_learnt_of_it_and_one_withdrawn_keeps_no_promise() -> None:
    source, begin = load_source(1000.0, 100.0), MONDAY + 48 * HOUR
    fed(source, MONDAY, begin, flat)
    for k in range(48):  # it never comes, and is told again every five minutes
        source.announce([job(begin, hours=12.0, said=begin + k * STEP)])
        fed(source, begin + k * STEP, begin + (k + 1) * STEP, flat)
    now = begin + 48 * STEP
    assert median_kw(source, now, 1) == pytest.approx(400.0, abs=25.0) and source.max_quantile(now, 2.0) < 800.0
    kept = dict(source._kept)
    for k in range(20):
        source.announce([job(now + k * HOUR, 0.0, 0.5, said=now, source="withdrawn")])
    fed(source, now, now + 24 * HOUR, flat)
    assert set(source._kept) - set(kept) <= {"queue"}
