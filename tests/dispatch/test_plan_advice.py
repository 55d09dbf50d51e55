"""What a plan wishes for one cycle: the billing mean it defends, less what a late cycle could add."""

from dataclasses import replace

import pytest

from ems.dispatch.advice import Advice
from ems.dispatch.plan_advice import advise_from_plan
from ems.plan.planner import Planner
from tests.control.loop import START, Loop, demo_site, even
from tests.plan.given import plan_inputs


def advised(cycle_s: float) -> tuple[float, Advice]:
    """The peak of a plan and what it advises to a controller of that cycle."""
    site = demo_site(cycle_s=cycle_s)
    plan = Planner(site).plan(plan_inputs(site, now=START, peak_so_far_kw=1100.0))
    loop = Loop(site)
    loop.run(1, lambda _k: {"hall-a": even(300.0), "hall-b": even(150.0)})
    state = replace(loop.decisions[-1].state, now=START)
    trends = loop.controller.trend.update(state)
    return plan.peak_kw, advise_from_plan(site, plan, "L0", state, trends, plan.peak_kw, 1100.0)


def test_the_goal_keeps_what_the_last_cycle_of_an_interval_may_add():
    peak_kw, every_second = advised(1.0)
    _, every_minute = advised(60.0)
    assert every_second.goal_kw is not None and every_minute.goal_kw is not None
    assert every_second.goal_kw == pytest.approx(0.996 * peak_kw, abs=0.5)
    assert every_second.goal_kw - every_minute.goal_kw == pytest.approx(168.0 * 59.0 / 900.0, abs=0.01)
    assert every_second.free_goal_kw - every_minute.free_goal_kw == pytest.approx(168.0 * 59.0 / 900.0, abs=0.01)


@pytest.mark.parametrize("window_kw", [None, 900.0])
def test_without_a_demand_price_only_a_window_in_force_has_a_goal(window_kw: float | None):
    priced = demo_site()
    site = replace(priced, tariff=replace(priced.tariff, demand_price_per_kw_month=0.0))
    plan = Planner(site).plan(plan_inputs(site, now=START, peak_so_far_kw=0.0))
    n = len(plan.starts)
    if window_kw is not None:
        plan = replace(plan, window_goal_kw=(window_kw,) * n, window_free_kw=(window_kw,) * n)
    loop = Loop(site)
    loop.run(1, lambda _k: {"hall-a": even(300.0), "hall-b": even(150.0)})
    state = replace(loop.decisions[-1].state, now=START)
    advice = advise_from_plan(site, plan, "L0", state, loop.controller.trend.update(state), plan.peak_kw, 0.0)
    if window_kw is None:
        assert advice.goal_kw is None and advice.work_goal_kw is None
    else:
        assert advice.goal_kw == advice.work_goal_kw == pytest.approx(0.996 * window_kw, abs=0.5)


@pytest.mark.parametrize(("worth", "growth"), [(0.03, 1.25), (9.0, 1.0)])
def test_a_limit_on_backlog_leaves_the_dearer_class_room_to_rise_while_power_is_cheap(worth: float, growth: float):
    site = demo_site()
    plan = Planner(site).plan(plan_inputs(site, now=START, peak_so_far_kw=1400.0))
    plan = replace(plan, marginal_price_per_kwh=(worth,) * len(plan.starts))
    loop = Loop(site)
    loop.run(1, lambda _k: {"hall-a": even(300.0), "hall-b": even(150.0)})
    state = replace(loop.decisions[-1].state, now=START)
    hall = state.clusters["hall-a"]
    waiting = {name: replace(work, backlog_kwh=20.0) for name, work in hall.classes.items()}
    state = replace(state, clusters={**state.clusters, "hall-a": replace(hall, classes=waiting)})
    trend = loop.controller.trend.update(state)["hall-a"]
    limits = advise_from_plan(site, plan, "L0", state, loop.controller.trend.update(state), plan.peak_kw, 1400.0).limits["hall-a"]
    for name, share in (("batch", 1.0), ("training", growth)):
        planned = plan.classes["hall-a"][name]
        assert planned.defer_kw[0] < 0.5, "else the limit is a cut"
        assert limits[name].kw == pytest.approx(share * trend.class_held_kw[name] + planned.recover_kw[0], abs=0.1)


@pytest.mark.parametrize(("curve", "cut_kw"), [([], 170.0), ([[0.0, 0.0], [0.8, 0.93], [1.0, 1.0]], 50.0)])
def test_under_a_throughput_curve_no_more_is_cut_than_planned_when_the_load_is_above_the_median(curve: list[list[float]], cut_kw: float):
    site = demo_site(assets={"hall-a": {"throughput_by_power": curve}})
    plan = Planner(site).plan(plan_inputs(site, now=START, peak_so_far_kw=1400.0))
    n, hall = len(plan.starts), next(c for c in site.clusters if c.id == "hall-a")
    cut = replace(plan.classes["hall-a"]["batch"], defer_kw=(50.0,) * n, throttle_kw=(0.0,) * n, recover_kw=(0.0,) * n)
    plan = replace(
        plan,
        classes={**plan.classes, "hall-a": {**plan.classes["hall-a"], "batch": cut}},
        load_q50_kw={**plan.load_q50_kw, "hall-a": (hall.idle_kw + 300.0,) * n},
    )
    loop = Loop(site)
    loop.run(2, lambda _k: {"hall-a": even(600.0), "hall-b": even(150.0)})
    state = replace(loop.decisions[-1].state, now=START)
    asked_kw = state.clusters["hall-a"].classes["batch"].demand_kw
    limits = advise_from_plan(site, plan, "L0", state, loop.controller.trend.update(state), plan.peak_kw, 1400.0).limits["hall-a"]
    assert asked_kw - limits["batch"].kw == pytest.approx(cut_kw, rel=0.05)
