from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from ems.plan.loop import next_month_start
from ems.timegrid import TimeGrid, boundaries_h, interval_start, interval_weights

GRID = TimeGrid.covering(48)
CHICAGO = ZoneInfo("America/Chicago")
NIGHTS = [
    datetime(2024, 8, 19, 4, 0, tzinfo=UTC),  # local midnight
    datetime(2024, 3, 10, 7, 30, tzinfo=UTC),  # clocks go forward at 08:00Z
    datetime(2024, 11, 3, 6, 30, tzinfo=UTC),  # and back at 07:00Z
    datetime(2024, 12, 31, 23, 50, tzinfo=UTC),
]


@pytest.mark.parametrize("night", NIGHTS)
def test_steps_join_without_gap_and_always_as_many_whatever_the_phase(night: datetime) -> None:
    for phase_s in range(0, 3600, 97):
        horizon = GRID.at(night + timedelta(seconds=phase_s, microseconds=7))
        assert horizon.n == GRID.n == len(horizon.duration_h)
        ends = [s + timedelta(hours=h) for s, h in zip(horizon.starts, horizon.duration_h, strict=True)]
        assert all(abs(e - s) < timedelta(milliseconds=1) for e, s in zip(ends, horizon.starts[1:], strict=False))
        assert min(horizon.duration_h) > 0 and boundaries_h(horizon)[-1] >= 48


@pytest.mark.parametrize("night", NIGHTS)
def test_all_but_the_first_boundary_stand_on_absolute_time(night: datetime) -> None:
    horizon = GRID.at(night + timedelta(seconds=223))
    seconds = np.array([s.timestamp() for s in horizon.starts])
    assert not (seconds[1:] % 300).any() and not (seconds[13:] % 900).any() and not (seconds[42:] % 3600).any()


def test_the_same_steps_return_an_hour_later_shifted_by_an_hour() -> None:
    now = NIGHTS[1] + timedelta(minutes=20)
    first, later = GRID.at(now), GRID.at(now + timedelta(hours=1))
    assert first.duration_h == later.duration_h and later.starts[0] - first.starts[0] == timedelta(hours=1)


def test_local_time_zones_give_the_same_steps_as_utc() -> None:
    assert GRID.at(NIGHTS[2]).starts == GRID.at(NIGHTS[2].astimezone(CHICAGO)).starts


@pytest.mark.parametrize("interval_s", [900, 1800, 3600])
def test_interval_weights_share_out_every_averaged_step(interval_s: int) -> None:
    for phase_s in range(0, 3600, 53):
        horizon = GRID.at(NIGHTS[0] + timedelta(seconds=phase_s))
        weights = interval_weights(horizon, interval_s)
        columns = weights.shape[1]
        assert weights.sum(axis=0) * interval_s == pytest.approx(np.array(horizon.duration_h[:columns]) * 3600)
        assert weights.sum(axis=1).max() <= 1 + 1e-9


def test_a_billing_interval_begins_on_multiples_of_its_length() -> None:
    assert interval_start(datetime(2024, 8, 19, 5, 29, 59, tzinfo=UTC), 900) == datetime(2024, 8, 19, 5, 15, tzinfo=UTC)


def test_the_boundary_a_deadline_earlier_is_never_too_early() -> None:
    for boundary in (13, 29, 42, 50, 70, GRID.n):
        for lag_h in (0.25, 7.75, 8.0, 23.75):
            earlier = GRID.boundary_after_lag(boundary, lag_h)
            for phase in range(0, 3600, 131):
                at = boundaries_h(GRID.at(NIGHTS[0] + timedelta(seconds=phase)))
                assert at[earlier] >= at[boundary] - lag_h - 1e-6


def test_the_next_month_begins_at_local_midnight_also_across_daylight_saving() -> None:
    assert next_month_start(datetime(2024, 10, 31, 12, tzinfo=UTC), "America/Chicago") == datetime(2024, 11, 1, 5, tzinfo=UTC)
    assert next_month_start(datetime(2024, 11, 2, 12, tzinfo=UTC), "America/Chicago") == datetime(2024, 12, 1, 6, tzinfo=UTC)
    assert next_month_start(datetime(2024, 11, 1, 4, 59, tzinfo=UTC), "America/Chicago") == datetime(2024, 11, 1, 5, tzinfo=UTC)
    assert next_month_start(datetime(2024, 12, 31, 23, tzinfo=UTC), "UTC") == datetime(2025, 1, 1, tzinfo=UTC)
