"""The promises of the field loop, with the simulated plant answering: limits hold before a rise is seen, whatever the plan says."""

from __future__ import annotations

import random

import pytest

from ems.messages import Mode, Order, OrderKind
from ems.plan.plan import encode_plan
from tests.control.loop import START, Loop, demo_site, even, texture
from tests.control.plans import flat_plan, hostile_plan


@pytest.mark.parametrize(("cycle_s", "seed"), [(1.0, 1), (1.0, 2), (5.0, 3), (30.0, 4)])
@pytest.mark.parametrize("policy", ["capped", "rules", "plan"])
def test_a_load_that_jumps_every_ten_seconds_never_lifts_the_import_over_the_limit(policy: str, cycle_s: float, seed: int) -> None:
    loop, rng = Loop(demo_site(cycle_s=cycle_s), policy, seed=seed), random.Random(seed)
    state = {"demand": texture(rng, 640.0)}

    def demand(k: int) -> dict:
        if (k * cycle_s) % 10 == 0 or cycle_s > 10:
            state["demand"] = texture(rng, 640.0)
        return state["demand"]

    truth = loop.run(int(1800 / cycle_s), demand)
    assert truth.over_s == 0.0
    assert truth.shortfall_s == 0.0
    assert truth.export_s == 0.0
    assert max(truth.poc_kw) > 0.97 * 1370, "the limit was not used: the test shows nothing"


@pytest.mark.parametrize("seed", range(6))
def test_a_hostile_planner_cannot_break_limit_export_reserve_or_state_of_charge(seed: int) -> None:
    site, rng = demo_site(), random.Random(seed)
    loop = Loop(site, seed=seed)
    state = {"demand": texture(rng, 600.0)}

    def demand(k: int) -> dict:
        if k % 10 == 0:
            state["demand"] = texture(rng, 600.0)
        return state["demand"]

    truth = loop.run(600, demand, lambda k: [("plan", encode_plan(hostile_plan(site, loop.now, rng)))])
    assert {d.rung.level.name for d in loop.decisions[-100:]} == {"L0"}, "the hostile plan was not followed: the test shows nothing"
    assert truth.longest_over_s <= 2.0
    assert truth.over_s <= 4.0
    assert truth.shortfall_s == 0.0
    assert truth.soc_breach_kwh < 1e-6
    assert truth.export_s <= 2.0


def test_storage_that_trips_while_it_holds_the_limit_is_answered_within_two_cycles() -> None:
    site = demo_site()
    loop = Loop(site, "rules")
    loop.run(120, lambda k: {"hall-a": even(720.0), "hall-b": even(330.0)})
    assert loop.plant.devices["bess-1"].read()["power_kw"] < -100
    loop.plant.devices["bess-1"].inject("trip", loop.now.timestamp() + 600)
    truth = loop.run(60, lambda k: {"hall-a": even(720.0), "hall-b": even(330.0)})
    assert truth.longest_over_s <= 2.0


def test_in_observe_nothing_is_written_but_everything_is_decided() -> None:
    loop = Loop(demo_site(), "rules", modes={"bess-1": Mode.OBSERVE})
    loop.run(30, lambda k: {"hall-a": even(500.0), "hall-b": even(200.0)})
    assert loop.writes == 0
    assert {s.asset for s in loop.decisions[-1].setpoints} == {"bess-1", "ups-1", "hall-a", "hall-b"}


def test_a_promoted_battery_works_around_clusters_nobody_handed_over() -> None:
    modes = {"bess-1": Mode.CONTROL, "ups-1": Mode.OBSERVE, "hall-a": Mode.OBSERVE, "hall-b": Mode.OBSERVE}
    loop = Loop(demo_site(), "rules", modes=modes)
    loop.run(60, lambda k: {"hall-a": even(300.0), "hall-b": even(100.0)})
    assert {s.asset for d in loop.decisions for s in d.written} == {"bess-1"}


def test_the_same_images_and_news_give_the_same_setpoints() -> None:
    site, rng = demo_site(), random.Random(5)
    loop = Loop(site)
    loop.run(60, lambda k: texture(rng), lambda k: [("plan", encode_plan(flat_plan(site, loop.now, -100.0)))] if k % 20 == 0 else ())
    again = Loop(site).controller
    plans = {k: [("plan", encode_plan(flat_plan(site, d.state.now, -100.0)))] for k, d in enumerate(loop.decisions) if k % 20 == 0}
    for k, (image, decision) in enumerate(zip(loop.images, loop.decisions, strict=True)):
        assert again.decide(image, plans.get(k, ()), image.now).setpoints == decision.setpoints


def test_a_restarted_controller_remembers_orders_month_peak_and_critical_load() -> None:
    loop = Loop(demo_site(), "rules")
    order = Order(OrderKind.STOP, "bess-1", "Ada", "maintenance", START)
    loop.run(1200, lambda k: {"hall-a": even(500.0), "hall-b": even(200.0)}, lambda k: [("order", order.encode())] if k == 3 else ())
    memory = loop.controller.memory()
    fresh = Loop(demo_site(), "rules").controller.__class__(demo_site(), "rules", loop.modes, memory)
    assert fresh.memory() == memory
    assert fresh.orders.standing["bess-1"].by == "Ada"
    assert fresh.billing.peak_kw == loop.controller.billing.peak_kw > 0


def test_a_planned_deferral_lowers_the_import_and_recovery_waits_for_the_plan() -> None:
    site = demo_site()
    loop = Loop(site)
    demand = {"hall-a": even(400.0), "hall-b": even(200.0)}
    loop.run(60, lambda k: demand, lambda k: [("plan", encode_plan(flat_plan(site, loop.now)))] if k == 0 else ())
    before_kw = loop.truth.poc_kw[-1]
    news = encode_plan(flat_plan(site, loop.now, defer_kw=1e4))
    loop.run(60, lambda k: demand, lambda k: [("plan", news)] if k == 0 else ())
    assert loop.truth.poc_kw[-1] < before_kw - 200
    assert loop.plant.devices["hall-a"].read()["batch_backlog_kwh"] > 1
    loop.run(60, lambda k: demand, lambda k: [("plan", encode_plan(flat_plan(site, loop.now)))] if k == 0 else ())
    assert abs(loop.truth.poc_kw[-1] - before_kw) < 30, "backlog came back although the plan did not say so"


def test_the_billing_mean_is_held_at_the_goal_of_the_plan() -> None:
    site, rng = demo_site(), random.Random(2)
    loop = Loop(site)
    loop.run(
        300,
        lambda k: texture(rng, 330.0, 150.0),
        lambda k: [("plan", encode_plan(flat_plan(site, loop.now, peak_kw=1100.0)))] if k == 0 else (),
    )
    loop.run(
        1800,
        lambda k: texture(rng, 480.0, 220.0),
        lambda k: [("plan", encode_plan(flat_plan(site, loop.now, peak_kw=1100.0)))] if k % 300 == 0 else (),
    )
    assert loop.truth.worst_kw > 1200, "the load never crossed the goal: the test shows nothing"
    assert loop.controller.billing.peak_kw <= 1100 * 1.005
