"""The hour that comes twice: whatever is asked for and whenever, a naive local stamp is read as the instant it was written at."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.feeds.rows import Response, read_response
from tests.adapters.feeds.made import feed

CHICAGO = "America/Chicago"
FIRST, SECOND, AFTER = (datetime(2024, 11, 3, hour, tzinfo=UTC) for hour in (6, 7, 8))  # 01:00 CDT, 01:00 CST, 02:00 CST
MIN = timedelta(minutes=1)


def local(instant: datetime, zone: str = CHICAGO) -> str:
    return instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None).isoformat()


def read(instants: list[datetime], at: datetime | None, zone: str = CHICAGO, **keys: Any) -> Response:
    """The response with a row for each instant, its value minutes since FIRST, of a day."""
    body = json.dumps([{"t": local(t, zone), "p": (t - FIRST) / MIN % 1440} for t in instants]).encode()
    return read_response(body, feed(time_zone=zone, **{"step_min": 5.0, **keys}), at)


@given(st.sampled_from([5, 15, 30]), st.integers(2, 40), st.integers(-60, 240), st.integers(0, 59), st.booleans())
def test_a_rolling_window_of_observations_is_read_right_at_every_minute(step: int, count: int, late: int, second: int, up: bool) -> None:
    """The last intervals that are over, at any moment around the change, oldest or newest first. Two half hours newest first look like
    two half hours oldest first."""
    at = FIRST + late * MIN + timedelta(seconds=second)
    last = FIRST + (late // step - 1) * step * MIN
    window = [last - k * step * MIN for k in range(max(count, 4 if step == 30 else 2))]
    found = read(window[::-1] if up else window, at, step_min=float(step))
    assert {v.start: round(v.value * 1000.0) for v in found.values} == {t: round((t - FIRST) / MIN) % 1440 for t in window}
    assert not found.complaints


@given(st.integers(-60, 180), st.integers(1, 60))
def test_a_rolling_forecast_is_read_right_at_every_minute(late: int, count: int) -> None:
    """From the interval that runs on, every five minutes."""
    begin = FIRST + late // 5 * 5 * MIN
    window = [begin + 5 * k * MIN for k in range(count)]
    keys = {"kind": "weather_forecast", "per": "K", "currency": None, "scale": 0.001}
    body = json.dumps([{"t": local(t), "p": 273150.0 + (t - FIRST) / MIN} for t in window]).encode()
    found = read_response(body, feed(time_zone=CHICAGO, step_min=5.0, **keys), FIRST + late * MIN)
    assert [v.start for v in found.values] == window


@pytest.mark.parametrize(("minutes", "known"), [(65, SECOND), (59, SECOND), (58, FIRST), (10, FIRST)])
def test_one_observation_alone_is_the_latest_that_is_not_in_the_future(minutes: int, known: datetime) -> None:
    assert [v.start for v in read([FIRST], FIRST + minutes * MIN).values] == [known]


def test_a_forecast_that_cannot_be_told_is_refused_by_name() -> None:
    found = read([SECOND], FIRST - 600 * MIN, kind="day_ahead_price")
    assert not found.values and "expected a time with its offset (clocks pass it twice in America/Chicago)" in found.complaints[0]
    assert [v.start for v in read([FIRST - 5 * MIN, FIRST], FIRST - 600 * MIN, kind="day_ahead_price").values][1:] == [FIRST]
    assert [v.start for v in read([AFTER - 5 * MIN, AFTER], FIRST - 600 * MIN, kind="day_ahead_price").values][:1] == [AFTER - 5 * MIN]


def test_the_same_row_twice_is_the_same_row_and_a_change_of_half_an_hour_is_one_too() -> None:
    found = read([FIRST, FIRST, FIRST + 5 * MIN], FIRST + 11 * MIN)
    assert [v.start for v in found.values] == [FIRST, FIRST + 5 * MIN] and found.counts["duplicate"] == 1
    island, begin = "Australia/Lord_Howe", datetime(2024, 4, 6, 14, 30, tzinfo=UTC)  # 01:30 and 01:30 again half an hour later
    window = [begin + 5 * k * MIN for k in range(12)]
    assert [v.start for v in read(window, begin + 61 * MIN, island).values] == window
    assert [v.start for v in read(window[7:9], begin + 46 * MIN, island).values] == window[7:9]


def test_rows_out_of_order_are_told_by_the_first_and_the_second_time_a_stamp_stands_there() -> None:
    mixed = [FIRST + m * MIN for m in (0, 15, 45, 30)] + [SECOND + m * MIN for m in (0, 15, 30, 45)]
    found = read(mixed, AFTER, step_min=15.0)
    assert {v.start: round(v.value * 1000.0) for v in found.values} == {t: round((t - FIRST) / MIN) for t in mixed}


def test_ends_and_publications_in_that_hour_are_the_ones_that_can_be() -> None:
    keys = {"columns": {"time": "t", "value": "p", "end": "e", "published": "i"}, "known": "published", "step_min": None}
    starts = [FIRST + 5 * k * MIN for k in range(24)]
    given_rows = [{"t": local(t), "e": local(t + 5 * MIN), "i": local(t + 5 * MIN), "p": 1.0} for t in starts[-6:]]
    found = read_response(json.dumps(given_rows).encode(), feed(time_zone=CHICAGO, **keys), AFTER + MIN)
    assert [(v.start, v.end, v.public_at) for v in found.values] == [(t, t + 5 * MIN, t + 5 * MIN) for t in starts[-6:]]
    crossing = [{"t": local(t), "e": local(t + 5 * MIN), "i": local(t + 5 * MIN), "p": 1.0} for t in starts[9:15]]
    found = read_response(json.dumps(crossing).encode(), feed(time_zone=CHICAGO, **keys), starts[15])
    assert [(v.start, v.end) for v in found.values] == [(t, t + 5 * MIN) for t in starts[9:15]]
