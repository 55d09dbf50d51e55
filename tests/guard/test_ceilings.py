"""A hall that draws more than any cap of the last seconds is named, however long a cycle is."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from ems.guard.ceilings import Ceilings
from ems.state.estimate import SiteState
from tests.control.loop import START, Loop, demo_site, even


@pytest.fixture(scope="module")
def state() -> SiteState:
    return Loop(demo_site(), "capped").cycle({"hall-a": even(500.0), "hall-b": even(100.0)}).state


def named_after_s(state: SiteState, cycle_s: float, caps_kw: list[float]) -> float | None:
    """Seconds until hall-a is named, told these caps in turn, the last one for ever; None when it is not within two minutes."""
    ceilings = Ceilings(demo_site(cycle_s=cycle_s))
    for k in range(int(120.0 / cycle_s)):
        told = {"hall-a": caps_kw[min(k, len(caps_kw) - 1)]}
        if ceilings.update(replace(state, now=START + timedelta(seconds=k * cycle_s)), told):
            return k * cycle_s
    return None


@pytest.mark.parametrize("cycle_s", [1.0, 2.0, 2.5, 3.0, 4.0, 5.0])
def test_who_draws_more_than_he_is_told_is_named_at_every_cycle(state: SiteState, cycle_s: float):
    drawn_kw = state.clusters["hall-a"].power_kw
    after_s = named_after_s(state, cycle_s, [drawn_kw - 100.0])
    assert after_s is not None and after_s <= max(5.0, 4.0 * cycle_s)
    assert named_after_s(state, cycle_s, [drawn_kw]) is None
    fallen_s = named_after_s(state, cycle_s, [drawn_kw] * 4 + [drawn_kw - 100.0])
    assert fallen_s is not None and fallen_s >= 4.0 * cycle_s + max(3.0, 2.0 * cycle_s)  # not before it had the time to follow
