"""The fallback ladder as tables: what happens, and which level follows."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from ems.control.controller import Controller
from ems.control.ladder import Ladder, Level
from ems.messages import Order, OrderKind
from ems.plan.plan import encode_plan
from tests.control.loop import START, Loop, demo_site, even
from tests.control.plans import flat_plan

CALM = {"hall-a": even(350.0), "hall-b": even(150.0)}


def test_down_at_once_up_only_after_the_dwell() -> None:
    ladder = Ladder(10.0)
    steps = [(0, Level.L0, Level.L0), (1, Level.L3, Level.L3), (2, Level.L0, Level.L3), (11, Level.L0, Level.L3), (12, Level.L0, Level.L0)]
    for at_s, allowed, expected in steps:
        assert ladder.step(allowed, "test", START + timedelta(seconds=at_s)).level is expected


def test_one_bad_cycle_starts_the_dwell_again() -> None:
    ladder = Ladder(10.0)
    for at_s, allowed in [(0, Level.L2), (1, Level.L0), (9, Level.L2), (10, Level.L0), (15, Level.L0)]:
        assert ladder.step(allowed, "test", START + timedelta(seconds=at_s)).level is Level.L2


def test_without_a_plan_rules_and_with_an_old_plan_the_previous_one() -> None:
    site = demo_site()
    loop = Loop(site)
    loop.run(3, lambda k: CALM)
    assert loop.decisions[-1].rung.level is Level.L2
    loop.run(20, lambda k: CALM, lambda k: [("plan", encode_plan(flat_plan(site, loop.now)))] if k == 0 else ())
    assert loop.decisions[-1].rung.level is Level.L0
    loop.run(800, lambda k: CALM)
    assert loop.decisions[-1].rung.level is Level.L1
    loop.run(1100, lambda k: CALM)
    assert loop.decisions[-1].rung.level is Level.L2
    assert "no valid plan" in loop.decisions[-1].rung.cause


def test_without_a_planner_the_rules_hold_no_less_than_the_peak_that_the_last_plans_of_the_month_wanted_also_after_a_restart() -> None:
    site = demo_site()
    loop = Loop(site)
    planned = flat_plan(site, loop.now, peak_kw=1290.0)
    loop.run(1900, lambda k: CALM, lambda k: [("plan", encode_plan(planned))] if k == 5 else ())
    assert loop.decisions[-1].rung.level is Level.L2
    again = Loop(site)
    again.now, again.controller = loop.now, Controller(site, "plan", loop.modes, loop.controller.memory())
    for run in (loop, again):
        run.run(5, lambda k: CALM)
        assert all("hold of 1290 kW" in s.reason for s in run.decisions[-1].setpoints if s.asset == "bess-1")


def test_a_blind_meter_or_a_late_journal_leaves_limits_only() -> None:
    loop = Loop(demo_site(), "rules")
    loop.run(20, lambda k: CALM)
    loop.plant.devices["poc"].inject("silent", loop.now.timestamp() + 10)
    loop.run(10, lambda k: CALM)
    assert loop.decisions[-1].rung.level is Level.L3
    assert any("no fresh meter" in a for a in loop.decisions[-1].alarms)
    loop.run(15, lambda k: CALM)
    assert loop.decisions[-1].rung.level is Level.L2
    assert loop.cycle(CALM, journal_ok=False).rung.level is Level.L3


def test_a_stop_brings_caps_to_the_contract_then_storage_to_zero_then_lets_go_until_a_person_releases() -> None:
    loop = Loop(demo_site(), "rules")
    heavy = {"hall-a": even(700.0), "hall-b": even(300.0)}
    loop.run(60, lambda k: heavy)
    assert loop.decisions[-1].state.storage_kw < -50
    stop = Order(OrderKind.STOP, "all", "Ada", "drill", loop.now).encode()
    loop.run(30, lambda k: heavy, lambda k: [("order", stop)] if k == 0 else ())
    levels = [d.rung.level for d in loop.decisions[-30:]]
    assert Level.L4 in levels and levels[-1] is Level.L5
    assert loop.decisions[-1].written == ()
    assert set(loop.decisions[-1].withdraw) == {"bess-1", "ups-1", "hall-a", "hall-b"}
    assert abs(loop.plant.devices["bess-1"].power_kw) < 1
    assert loop.truth.over_s == 0.0
    release = Order(OrderKind.RELEASE, "all", "Ada", "drill over", loop.now).encode()
    loop.run(15, lambda k: heavy, lambda k: [("order", release)] if k == 0 else ())
    given_back = loop.decisions[-15]
    assert given_back.rung.level is Level.L3 and given_back.written != () and given_back.withdraw == ()
    assert loop.decisions[-1].rung.level is Level.L2


@pytest.mark.parametrize("allowed", list(Level)[:-1])
def test_from_withdrawn_the_limits_are_held_at_once_and_all_else_waits_for_the_dwell(allowed: Level) -> None:
    ladder = Ladder(10.0)
    for at_s in range(3):
        ladder.step(Level.L5, "stopped by a person", START + timedelta(seconds=at_s))
    levels = [ladder.step(allowed, "test", START + timedelta(seconds=3 + k)).level for k in range(12)]
    assert set(levels[:10]) == {max(allowed, Level.L3)} and levels[-1] is allowed


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"kind": "hold", "asset": "nobody", "by": "Ada", "why": "x", "at": START.isoformat()}, "no asset nobody"),
        ({"kind": "hold", "asset": "bess-1", "by": "", "why": "x", "at": START.isoformat()}, "name of a person"),
        ({"kind": "override", "asset": "bess-1", "by": "Ada", "why": "x", "at": START.isoformat()}, "power in kW"),
        ({"kind": "explode", "asset": "bess-1", "by": "Ada", "why": "x", "at": START.isoformat()}, "explode"),
        ({}, "kind"),
    ],
)
def test_an_order_that_cannot_be_applied_is_refused_with_the_reason(body: dict, word: str) -> None:
    decision = Loop(demo_site(), "rules").cycle(CALM, [("order", body)])
    assert len(decision.acknowledged) == 1
    assert "refused" in decision.acknowledged[0] and word in decision.acknowledged[0]


SPOILED = {
    "peak_kw": float("nan"),
    "free_peak_kw": float("nan"),
    "critical_q99_kw": float("nan"),
    "import_kw": [1.0],
    "marginal_price_per_kwh": [1e308] * 12,
    "power_kw": {},
    "starts": "yesterday",
    "classes": {"hall-z": {}},
    "binding": [None] * 12,
}


@pytest.mark.parametrize("spoil", SPOILED)
def test_a_damaged_plan_is_refused_with_an_alarm_and_rules_go_on(spoil: str) -> None:
    site = demo_site()
    loop = Loop(site)
    body = {**encode_plan(flat_plan(site, loop.now)), spoil: SPOILED[spoil]}
    decision = loop.cycle(CALM, [("plan", body)])
    assert any(a.startswith("plan refused") for a in decision.alarms)
    assert decision.rung.level is Level.L2


def test_an_override_is_followed_inside_the_envelope_and_ends_by_itself() -> None:
    loop = Loop(demo_site(), "rules")
    order = Order(OrderKind.OVERRIDE, "bess-1", "Ada", "test", loop.now, kw=-5000.0, until=loop.now + timedelta(seconds=20))
    loop.run(15, lambda k: CALM, lambda k: [("order", order.encode())] if k == 0 else ())
    assert -500.0 <= loop.plant.devices["bess-1"].power_kw < -300.0
    assert "override by Ada" in next(s.reason for s in loop.decisions[-1].setpoints if s.asset == "bess-1")
    loop.run(15, lambda k: CALM)
    assert "override" not in next(s.reason for s in loop.decisions[-1].setpoints if s.asset == "bess-1")


def test_charging_ordered_by_a_person_gives_way_to_work_at_the_import_limit() -> None:
    loop = Loop(demo_site(), "rules")
    busy = {"hall-a": even(400.0), "hall-b": even(170.0)}
    loop.run(600, lambda k: busy)
    before = loop.truth.deferred_kwh
    order = Order(OrderKind.OVERRIDE, "bess-1", "Ada", "test", loop.now, kw=400.0, until=loop.now + timedelta(minutes=5))
    loop.run(200, lambda k: busy, lambda k: [("order", order.encode())] if k == 0 else ())
    assert loop.truth.deferred_kwh - before < 0.1, "work was deferred for an order to charge"
    assert loop.truth.throttled_kwh == 0.0
    assert 0.0 < loop.plant.devices["bess-1"].power_kw < 250.0


def test_a_discharge_ordered_by_a_person_is_not_relieved_for_the_billing_mean() -> None:
    site = demo_site()
    loop = Loop(site)
    plan = replace(flat_plan(site, loop.now, -50.0), binding=("demand charge",) * 12)
    loop.run(30, lambda k: CALM, lambda k: [("plan", encode_plan(plan))] if k == 0 else ())
    order = Order(OrderKind.OVERRIDE, "bess-1", "Ada", "trial", loop.now, kw=-150.0, until=loop.now + timedelta(minutes=5))
    loop.run(30, lambda k: CALM, lambda k: [("order", order.encode())] if k == 0 else ())
    assert loop.plant.devices["bess-1"].power_kw == pytest.approx(-150.0, abs=1.0)


def test_golden_9_what_comes_and_goes_keeps_the_site_down_longer_each_time() -> None:
    ladder, changes, at_s, level = Ladder(10.0), 0, 0, Level.L0
    ladder.step(Level.L0, "test", START)
    for at_s in range(1, 3601):
        allowed = Level.L3 if at_s % 15 < 2 else Level.L0
        now = ladder.step(allowed, "test", START + timedelta(seconds=at_s)).level
        changes, level = changes + (now is not level), now
    assert changes < 20  # 480 without it
