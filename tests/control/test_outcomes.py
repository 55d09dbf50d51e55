"""Every intent ends once: applied, rejected or unknown."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems.control.outcomes import Outcomes
from ems.dispatch.setpoint import Setpoint
from ems.reading import Reading
from ems.state.image import SiteImage

START = datetime(2024, 8, 19, 5, tzinfo=UTC)
KEY = ("bess-1", "power_setpoint_kw")


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


def told(kw: float, second: float) -> list[Setpoint]:
    return [Setpoint(*KEY, kw, "a test", at(second))]


def image(second: float, shown_kw: float | None, read_s: float | None = None, problem: str = "") -> SiteImage:
    read_at = at(second if read_s is None else read_s)
    return SiteImage(at(second), {}, {"bess-1": {KEY[1]: Reading(shown_kw, read_at)}}, {"bess-1": problem} if problem else {})


@pytest.mark.parametrize(
    ("seen", "outcome"),
    [
        (image(1.0, 50.0), "applied"),
        (image(1.0, 50.4), "applied"),
        (image(1.0, 50.0, read_s=-0.5), None),  # shown before it was told
        (image(1.0, 0.0), None),
        (image(6.0, 0.0), "unknown"),
        (image(1.0, 0.0, problem="power_setpoint_kw: write 10+2: refused with exception 3"), "rejected"),
        (image(4.0, 0.0, problem="power_setpoint_kw: told 50, reads back 0 (acknowledged but not applied)"), "rejected"),
        (image(6.0, 0.0, problem="write failed: no answer within 0.4 s"), "unknown"),
    ],
)
def test_an_intent_ends_by_what_the_device_shows(seen: SiteImage, outcome: str | None):
    outcomes = Outcomes()
    assert outcomes.note(told(50.0, 0.0), at(0.0)) == []
    rows = outcomes.settle(seen)
    assert [row[4] for row in rows] == ([] if outcome is None else [outcome])
    assert outcomes.settle(image(7.0, 50.0)) == [] or outcome is None


def test_the_same_value_again_is_no_new_intent_and_a_newer_one_takes_its_place():
    outcomes = Outcomes()
    outcomes.note(told(50.0, 0.0), at(0.0))
    assert outcomes.note(told(50.0, 1.0), at(1.0)) == []
    replaced = outcomes.note(told(60.0, 2.0), at(2.0))
    assert [(row[2], row[4], row[5]) for row in replaced] == [(50.0, "unknown", "replaced")]
    assert [row[2] for row in outcomes.settle(image(3.0, 60.0))] == [60.0]


def test_what_the_process_before_left_open_is_settled_by_what_the_device_shows():
    outcomes = Outcomes()
    outcomes.resume(at(0.0), [[*KEY, 50.0, "plan", True], ["ups-1", "battery_setpoint_kw", 9.0, "plan", False]])
    assert [(row[2], row[4]) for row in outcomes.settle(image(3.0, 50.0))] == [(50.0, "applied")]


@given(st.lists(st.tuples(st.sampled_from([0.0, 10.0, 20.0]), st.sampled_from([None, 0.0, 10.0, 20.0]), st.booleans()), max_size=40))
def test_there_are_never_more_outcomes_than_intents_and_at_most_one_is_open(rows: list[tuple[float, float | None, bool]]):
    outcomes, ended, intents, last = Outcomes(), Counter[str](), 0, None
    for k, (kw, shown_kw, is_refused) in enumerate(rows):
        seen = image(k, shown_kw, problem="power_setpoint_kw: refused" if is_refused else "")
        ended.update(str(row[4]) for row in outcomes.settle(seen))
        intents += kw != last
        last = kw
        ended.update(str(row[4]) for row in outcomes.note(told(kw, k), at(k)))
    assert intents - 1 <= sum(ended.values()) <= intents or intents == 0
    assert outcomes.counts == {name: ended[name] for name in ("applied", "rejected", "unknown")}
