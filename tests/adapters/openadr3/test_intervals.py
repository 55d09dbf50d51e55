"""Intervals of OpenADR 3 events: equal to an independent client's on random events, and the rules that client does not have."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openadr3.entities.models import Event as PeerEvent

from adapters.openadr3.intervals import Slot, is_withdrawn, resolved, spread_of, unpacked
from adapters.openadr3.times import Span, later, span_from, written, written_span
from ems.errors import DataError

ISSUED = datetime(2027, 7, 15, 12, 0, tzinfo=UTC)
UNTIL = ISSUED + timedelta(days=14)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


def event(*intervals: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"programID": "p", "intervals": list(intervals), **more}


def interval(kw: float = 1.0, **period: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"id": 0, "payloads": [{"type": "DISPATCH_SETPOINT", "values": [kw]}]}
    return {**found, "intervalPeriod": period} if period else found


def period(start: str = "2027-07-15T16:00:00Z", duration: str = "PT1H", **more: Any) -> dict[str, Any]:
    return {"intervalPeriod": {"start": start, "duration": duration, **more}}


def spans(slots: tuple[Slot, ...]) -> list[tuple[float, float | None]]:
    """Minutes from the issue."""
    return [((s.start - ISSUED) / MINUTE, None if s.end is None else (s.end - ISSUED) / MINUTE) for s in slots]


def random_event(rng: random.Random) -> dict[str, Any]:
    """Any mix of inherited and own starts and durations that the other client can resolve: no sentinel, no loop, no months,
    no parts of seconds (it drops them)."""
    durations = ["PT5M", "PT15M", "PT1H", "PT90S", "P1D", "P1W", "PT1H30M", "PT7S", "P1DT2H3M4S"]

    def instant() -> str:
        at = ISSUED + timedelta(seconds=rng.randint(-(10**7), 10**7))
        return rng.choice([written(at), at.astimezone(None).isoformat(), at.isoformat(), at.isoformat(sep=" ")])

    intervals = []
    for n in range(rng.randint(1, 8)):
        own: dict[str, Any] = {}
        if rng.random() < 0.3:
            own["start"] = instant()
        if rng.random() < 0.4:
            own["duration"] = rng.choice(durations)
        found: dict[str, Any] = {"id": n, "payloads": [{"type": "DISPATCH_SETPOINT", "values": [n]}]}
        intervals.append({**found, "intervalPeriod": own} if own else found)
    return event(*intervals, id="e", intervalPeriod={"start": instant(), "duration": rng.choice(durations)})


def test_a_thousand_random_events_resolve_as_in_an_independent_client():
    rng = random.Random(1)
    for _ in range(1000):
        raw = random_event(rng)
        theirs = [i.interval_period.period for i in PeerEvent.from_raw(raw).resolved_intervals() if i.interval_period]
        ours = [(s.start, s.end) for s in resolved(raw, ISSUED, UNTIL)]
        assert ours == [(datetime.fromisoformat(str(a)), datetime.fromisoformat(str(b))) for a, b in theirs if a and b], raw


def test_the_sentinel_means_now_and_later_directly_after_the_one_before():
    raw = event(interval(), interval(2, start="0001-01-01T00:00:00Z", duration="PT30M"), **period("0001-01-01T00:00:00Z"))
    assert spans(resolved(raw, ISSUED, UNTIL)) == [(0, 60), (60, 90)]
    assert spans(resolved(event(interval(start="0000-00-00", duration="PT1H")), ISSUED, UNTIL)) == [(0, 60)]


def test_a_sentinel_after_an_own_start_follows_that_one_and_a_missing_start_follows_the_durations():
    own = interval(start="2027-07-15T20:00:00Z")
    assert spans(resolved(event(own, interval(start="0001-01-01"), **period()), ISSUED, UNTIL)) == [(480, 540), (540, 600)]
    assert spans(resolved(event(own, interval(), **period()), ISSUED, UNTIL)) == [(480, 540), (300, 360)]


def test_a_longer_event_repeats_its_intervals_and_a_shorter_one_cuts_them():
    two = (interval(1), interval(2))
    looped = resolved(event(*two, duration="PT5H", **period()), ISSUED, UNTIL)
    assert spans(looped) == [(240, 300), (300, 360), (360, 420), (420, 480), (480, 540)]
    assert [s.values["DISPATCH_SETPOINT"] for s in looped] == [(1,), (2,), (1,), (2,), (1,)]
    assert spans(resolved(event(*two, duration="PT90M", **period()), ISSUED, UNTIL)) == [(240, 300), (300, 330)]
    assert spans(resolved(event(*two, duration="PT0S", **period()), ISSUED, UNTIL)) == [(240, 300), (300, 360)]


def test_a_loop_without_end_is_given_as_far_as_asked_and_one_that_began_long_ago_is_not_replayed():
    raw = event(interval(1), interval(2), duration="P9999Y", **period("2020-01-01T00:00:00Z", "PT12H"))
    slots = resolved(raw, ISSUED, ISSUED + timedelta(days=2))
    assert len(slots) <= 5000 and slots[-1].end == ISSUED + timedelta(days=2)
    assert next(s for s in slots if s.start <= ISSUED < (s.end or UNTIL)).values["DISPATCH_SETPOINT"] == (2,)


def test_what_has_no_end_has_none_and_nothing_can_follow_it():
    assert resolved(event(interval(), **period(duration="P9999Y")), ISSUED, UNTIL)[0].end is None
    with pytest.raises(DataError, match="without end"):
        resolved(event(interval(), interval(), **period(duration="P9999Y")), ISSUED, UNTIL)
    assert resolved(event(interval(), duration="PT2H", **period(duration="P9999Y")), ISSUED, UNTIL)[0].end == ISSUED + 6 * HOUR


def test_packed_prices_split_their_interval_and_setpoints_do_not():
    slot = Slot(ISSUED, ISSUED + HOUR, {"PRICE": (1, 2, 3, 4), "CURVE": (1, 2)})
    parts = list(unpacked(slot))
    assert [(s.start, s.end, s.values["PRICE"]) for s in parts[:4]] == [
        (ISSUED + n * 15 * MINUTE, ISSUED + (n + 1) * 15 * MINUTE, (n + 1,)) for n in range(4)
    ]
    assert parts[4] == Slot(ISSUED, ISSUED + HOUR, {"CURVE": (1, 2)})


def test_an_event_rewritten_to_begin_now_and_last_no_time_is_withdrawn():
    assert is_withdrawn(event(**period("0001-01-01T00:00:00Z", "PT0S")))
    assert is_withdrawn(event(**period("0001-01-01", "PT0S"), duration="PT0S"))
    assert not is_withdrawn(event(**period("0001-01-01", "PT1H"), duration="PT0S"))
    assert not is_withdrawn(event(**period(duration="PT0S")))
    assert not is_withdrawn(event(intervalPeriod={"start": "0001-01-01"}))


def test_the_spread_of_the_start_is_the_first_intervals_own_or_the_events():
    assert spread_of(event(interval(), **period(randomizeStart="PT5M"))) == 300.0
    assert spread_of(event(interval(randomizeStart="PT1M"), **period(randomizeStart="PT5M"))) == 60.0
    with pytest.raises(DataError, match="at most a day"):
        spread_of(event(interval(), **period(randomizeStart="P2D")))


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (event(interval(), **period("2027-07-15T16:00:00")), "with its offset"),
        (event(interval(), **period("tomorrow")), "with its offset"),
        (event(interval(), **period(duration="one hour")), "expected a duration"),
        (event(interval(), **period(duration="-PT1H")), "expected a duration"),
        (event(interval(), **period("9990-01-01T00:00:00Z", "P90Y")), "beyond the calendar"),
        (event(interval()), "duration"),
        (event(interval(duration="PT1H")), "has no start"),
        (event({"id": 0}, **period()), "payloads"),
        (event("nonsense", **period()), "expected a list"),  # type: ignore[arg-type]
        (event(interval(), intervalPeriod=7), "expected an object"),
        (event(*[interval()] * 5001, **period()), "at most 5000"),
    ],
)
def test_what_cannot_be_meant_is_one_clear_line(raw: dict[str, Any], says: str):
    with pytest.raises(DataError, match=says):
        resolved(raw, ISSUED, UNTIL)


@given(st.integers(1, 400), st.integers(1, 12), st.integers(1, 48))
def test_a_looped_event_covers_exactly_its_duration_without_gap_or_overlap(minutes: int, count: int, hours: int):
    raw = event(*[interval(n) for n in range(count)], duration=f"PT{hours}H", **period(duration=f"PT{minutes}M"))
    slots = resolved(raw, ISSUED, UNTIL)
    assert slots[0].start == ISSUED + 4 * HOUR and slots[-1].end == ISSUED + (4 + hours) * HOUR
    assert all(a.end == b.start for a, b in pairwise(slots))


@given(st.integers(0, 10**6))
def test_a_duration_reads_back_as_written(seconds: int):
    assert span_from(written_span(timedelta(seconds=seconds)), "x") == Span(seconds=float(seconds))


def test_months_count_by_the_calendar():
    assert later(datetime(2027, 1, 31, tzinfo=UTC), span_from("P1M", "x")) == datetime(2027, 2, 28, tzinfo=UTC)
    assert later(datetime(2027, 11, 5, tzinfo=UTC), span_from("P1Y2M1D", "x")) == datetime(2029, 1, 6, tzinfo=UTC)
