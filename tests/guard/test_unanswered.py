"""An import over the limit that nobody can answer any more is named, from what is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from ems.control.decision import Decision
from ems.guard.unanswered import Unanswered, left_kw
from tests.control.loop import START, Loop, demo_site, even

BUSY = {"hall-a": even(400.0), "hall-b": even(200.0)}


def run(rows: Sequence[tuple[float, float]], every_s: float = 1.0) -> list[bool]:
    """Whether it is said, for rows of (kW over the limit, kW that may still be asked)."""
    watch = Unanswered()
    return [watch.update(START + timedelta(seconds=k * every_s), over, left) for k, (over, left) in enumerate(rows)]


def test_it_is_said_after_two_seconds_over_the_limit_and_no_longer_than_it_lasts():
    assert run([(-1.0, 0.0), (9.0, 0.0), (9.0, 0.0), (9.0, 0.0), (0.0, 0.0), (9.0, 0.0)]) == [False, False, False, True, False, False]


def test_it_is_not_said_while_more_may_be_asked_than_is_over():
    assert run([(50.0, 60.0)] * 5) == [False] * 5
    assert run([(50.0, 60.0)] * 4 + [(50.0, 40.0)]) == [False] * 4 + [True]


def settled() -> tuple[Loop, Decision]:
    loop = Loop(demo_site(), "capped")
    loop.run(30, lambda k: BUSY)
    return loop, loop.decisions[-1]


def test_what_is_left_is_work_down_to_idle_with_its_losses_and_storage_down_to_its_lowest():
    _, decision = settled()
    verdict, state = decision.verdict, decision.state
    idle = {k: e.low_kw for k, e in verdict.caps.items()}
    lowest = {k: e.low_kw for k, e in verdict.storage.items()}
    free = {k: e.high_kw for k, e in verdict.caps.items()}
    assert left_kw(verdict, state, idle, lowest) == pytest.approx(0.0)
    work_kw = sum(state.clusters[k].power_kw - kw for k, kw in idle.items())
    assert left_kw(verdict, state, free, lowest) == pytest.approx(work_kw * (1.0 + verdict.room.loss_fraction))
    assert left_kw(verdict, state, idle, dict.fromkeys(lowest, 0.0)) > 100.0
    assert left_kw(verdict, state, idle, {**lowest, "gas-1": -10.0}) == pytest.approx(0.0)


def test_nothing_is_left_of_a_hall_that_draws_more_than_its_cap_or_was_told_nothing():
    _, decision = settled()
    verdict, state = decision.verdict, decision.state
    told = {"hall-a": 500.0, "hall-b": 400.0}
    drawn = replace(verdict, overdrawn_kw={"hall-a": 600.0})
    assert left_kw(drawn, state, told, {}) == left_kw(verdict, state, {"hall-b": 400.0}, {}) < left_kw(verdict, state, told, {})
    assert left_kw(verdict, state, {}, {}) == 0.0
