"""A rise of the billing peak is believed once it has lasted."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from ems.dispatch.rising_peak import PATIENCE, RisingPeak
from ems.plan.plan import Plan
from ems.plan.planner import Planner
from tests.control.loop import START, demo_site
from tests.plan.given import plan_inputs

FREE_KW = 1100.0
STEP = timedelta(minutes=5)


def plans(peaks_kw: list[float]) -> list[Plan]:
    site = demo_site()
    plan = Planner(site).plan(plan_inputs(site, now=START, peak_so_far_kw=FREE_KW))
    return [replace(plan, made_at=START + i * STEP, peak_kw=kw, free_peak_kw=FREE_KW) for i, kw in enumerate(peaks_kw)]


def believed(peaks_kw: list[float], month: str = "2024-06") -> list[float]:
    rising, out = RisingPeak(), []
    for plan in plans(peaks_kw):
        rising.take(plan, plan.made_at, month)
        out.append(rising.believed_kw(plan, plan.made_at, month))
    return out


def test_a_forecast_that_looks_high_for_a_moment_raises_nothing():
    assert believed([1100.0, 1150.0, 1160.0, 1100.0, 1140.0]) == [1100.0] * 5


def test_a_rise_that_lasts_is_believed_as_far_as_it_lasted_and_a_fall_at_once():
    rise = [1100.0, *[1150.0, 1130.0] * 4, 1100.0]
    n = PATIENCE // STEP
    assert believed(rise) == [*[1100.0] * (n + 1), *[1130.0] * (len(rise) - n - 2), 1100.0]


def test_what_is_free_is_never_withheld_and_the_first_plan_is_taken_as_it_is():
    rising = RisingPeak()
    first, second = plans([1180.0, 1300.0])
    rising.take(first, START, "2024-06")
    assert rising.believed_kw(first, START, "2024-06") == 1180.0
    rising.take(second, START + STEP, "2024-06")
    assert rising.believed_kw(second, START + STEP, "2024-06") == 1180.0
    assert rising.believed_kw(replace(second, free_peak_kw=1250.0), START + STEP, "2024-06") == 1250.0
    assert rising.believed_kw(replace(second, free_peak_kw=None), START + STEP, "2024-06") == 1300.0


def test_neither_a_dead_planner_nor_another_month_holds_a_rise_back():
    rising = RisingPeak()
    first, second = plans([1100.0, 1300.0])
    for plan in (first, second):
        rising.take(plan, plan.made_at, "2024-06")
    assert rising.believed_kw(second, START + STEP, "2024-06") == 1100.0
    assert rising.believed_kw(second, START + STEP, "2024-07") == 1300.0
    assert rising.believed_kw(second, START + PATIENCE + timedelta(seconds=1), "2024-06") == 1300.0


def test_plans_in_a_hurry_are_remembered_as_one_and_a_restart_forgets_none():
    rising = RisingPeak()
    first, second = plans([1100.0, 1300.0])
    for k in range(500):
        rising.take(first if k == 250 else second, START + timedelta(seconds=0.1 * k), "")
    assert len(rising.encode()) == 1
    again = RisingPeak()
    again.restore(rising.encode())
    assert again.believed_kw(second, START + STEP, "2024-06") == 1100.0
