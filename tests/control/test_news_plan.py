"""A plan from another process: what it may hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ems.control.news import checked_plan
from tests.control.loop import START, demo_site
from tests.control.plans import STEPS, flat_plan


@pytest.mark.parametrize(
    "wrong",
    [
        {"peak_kw": None},
        {"peak_kw": float("nan")},
        {"window_goal_kw": ("x",) * STEPS},
        {"window_goal_kw": {"a": 1}},
        {"window_goal_kw": (-1e12,) * STEPS},
        {"window_free_kw": (True,) * STEPS},
        {"window_goal_kw": (1000.0,) * (STEPS - 1)},
    ],
    ids=str,
)
def test_a_goal_that_is_no_power_is_refused(wrong: dict[str, Any]) -> None:
    site = demo_site()
    with pytest.raises((ValueError, TypeError)):
        checked_plan(replace(flat_plan(site, START), **wrong), site, START)


def test_goals_of_demand_windows_are_taken_where_there_are_some() -> None:
    site = demo_site()
    plan = replace(flat_plan(site, START), window_goal_kw=(None, 900.0) * (STEPS // 2), window_free_kw=(None, 800.0) * (STEPS // 2))
    assert checked_plan(plan, site, START) is plan
