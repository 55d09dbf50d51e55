"""What binds in each step and what one more unit of it is worth: true to a second solve, in words, on its way to the operator."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import cvxpy as cp
import numpy as np
import pytest

from ems.assets.battery.model import Battery
from ems.control.snapshot import encode_snapshot
from ems.obligation import Obligation, ObligationKind
from ems.plan.envelope import import_envelope
from ems.plan.inputs import ImportEnvelope, PlanInputs
from ems.plan.plan import decode_plan, encode_plan
from ems.plan.planner import Planner
from ems.plan.worth import RULES, WHOLE, lines, told
from ems.site.model import Site
from tests.control.loop import START, Loop, even
from tests.plan.given import MONDAY, demo_site, plan_inputs

SITE = demo_site(1100.0)
PLANNER = Planner(SITE)
INPUTS = replace(plan_inputs(SITE), import_price_per_kwh=5.0 * plan_inputs(SITE).import_price_per_kwh)
PLAN = PLANNER.plan(INPUTS)
POC, LIMIT = "point of connection", "stays within the import limit"


def limited(inputs: PlanInputs, step: int, by_kw: float) -> PlanInputs:
    kw = inputs.envelope.kw.copy()
    kw[step] += by_kw
    return replace(inputs, envelope=ImportEnvelope(kw, inputs.envelope.source))


def test_the_worth_of_the_limit_is_what_a_plan_with_a_little_more_of_it_saves() -> None:
    dearest = sorted(dict(PLAN.worth[POC][LIMIT]).items(), key=lambda kv: -kv[1])[:4]
    assert dearest[0][1] > 0.1
    for step, worth in dearest:
        more, less = (PLANNER.plan(limited(INPUTS, step, by)).objective for by in (0.05, -0.05))
        assert (PLAN.objective - more) / 0.05 - 0.02 <= worth <= (less - PLAN.objective) / 0.05 + 0.02  # between the two slopes


def test_the_worth_of_a_stored_kilowatt_hour_of_reserve_is_what_a_smaller_reserve_saves() -> None:
    rules = PLAN.worth["ups-1"]
    assert "keeps the reserve" in rules
    inside = {k: v for k, v in rules["keeps the reserve"]}
    freed = replace(INPUTS, reserve_kwh={"ups-1": INPUTS.reserve_kwh["ups-1"] - 0.5})
    saved = (PLAN.objective - PLANNER.plan(freed).objective) / 0.5
    assert saved == pytest.approx(sum(inside.values()), rel=0.1, abs=0.02)


def with_load(planner: Planner, inputs: PlanInputs, step: int, by_kw: float) -> float:
    """What the plan costs with so much more load at the meter in one step."""
    problem = planner.problem
    problem.update(inputs)
    balance = problem.constraints["power balance"]
    moved = np.where(np.arange(inputs.horizon.n) == step, by_kw, 0.0)
    rest = [c for c in problem.constraints.values() if c is not balance]
    whole = cp.Problem(cp.Minimize(problem.cost), [*rest, balance.args[0] == balance.args[1] + moved])
    return float(whole.solve(solver=cp.HIGHS))


def paid_hours() -> tuple[PlanInputs, list[int]]:
    """Inputs whose price lies far below zero for four hours of each morning, and the steps of the first morning."""
    inputs = plan_inputs(demo_site(1450.0), seed=1, peak_so_far_kw=1400.0)
    is_paid = np.array([8 <= s.hour < 12 for s in inputs.horizon.starts])
    first = [k for k, s in enumerate(inputs.horizon.starts) if is_paid[k] and s.day == MONDAY.day]
    return replace(inputs, import_price_per_kwh=np.where(is_paid, -0.25, 0.03)), first


def test_a_kilowatt_hour_less_import_costs_in_hours_that_pay_for_taking_power_as_a_second_solve_says() -> None:
    planner, (inputs, steps) = Planner(demo_site(1450.0)), paid_hours()
    plan = planner.plan(inputs)
    for step in (0, steps[4]):
        more_kw = 0.5 / plan.duration_h[step]
        costs = (with_load(planner, inputs, step, more_kw) - plan.objective) / 0.5
        assert plan.marginal_price_per_kwh[step] == pytest.approx(costs, abs=0.002)
    assert plan.marginal_price_per_kwh[0] > 0.0 > plan.marginal_price_per_kwh[steps[4]]
    assert [line for line in plan.lines if "import earns" in line] == ["one kWh more import earns most at 19 Aug 10:45Z: 0.250"]
    assert not any("-0." in line for line in plan.lines)


def with_warranty(kwh_per_day: float) -> Site:
    site = demo_site(1450.0)
    battery = site.assets["bess-1"]
    assert isinstance(battery, Battery)
    return replace(site, assets={**site.assets, "bess-1": replace(battery, warranty_kwh_per_day=kwh_per_day)})


def test_the_worth_of_a_daily_budget_is_told_by_the_local_day_that_binds() -> None:
    inputs = plan_inputs(demo_site(1450.0), seed=1, peak_so_far_kw=1400.0)
    is_dear = np.array([s.hour >= 21 or s.hour < 1 for s in inputs.horizon.starts])
    inputs = replace(inputs, import_price_per_kwh=np.where(is_dear, 0.6, 0.03), given_kwh={"bess-1": 0.0})
    plan = Planner(with_warranty(300.0)).plan(inputs)
    told_of = {rule: dict(steps)[WHOLE] for rule, steps in plan.worth["bess-1"].items() if "warranty" in rule}
    saved = plan.objective - Planner(with_warranty(301.0)).plan(inputs).objective  # one more kWh on each day
    assert len(told_of) == 2 and sum(told_of.values()) == pytest.approx(saved, rel=0.02)
    said = [line for line in lines(plan.worth, WHOLE, ("bess-1",)) if "warranty" in line]
    assert sorted(line.partition(" warranty")[0] for line in said) == ["bess-1: today's", "bess-1: tomorrow's"]
    assert told("gives no more in a day than its cells may (3)") == (
        "the cell throughput of the day 3 days ahead is used up",
        "1 kWh more of it",
    )
    assert told("gives no more in a day than its warranty") == ("a day's warranty throughput is used up", "1 kWh more of it")


def test_what_binds_nothing_is_not_told_and_the_peak_is_told_once_for_the_plan() -> None:
    said = PLAN.explain()
    assert sum("the billing peak is held" in line for line in said) == 1
    for step in range(len(PLAN.starts)):
        told_limit = any("import stands on its limit" in line for line in PLAN.explain(step))
        assert told_limit == (step in dict(PLAN.worth[POC][LIMIT]))
        if told_limit:
            assert (
                PLAN.import_kw[step] == pytest.approx(INPUTS.envelope.kw[step], abs=0.01) or PLAN.import_kw[step] > INPUTS.envelope.kw[step]
            )


def test_dearest_comes_first_and_an_asset_is_told_with_the_limits_of_the_site() -> None:
    worth = {
        "bess-1": {"stays below the ceiling": ((3, 0.5),)},
        POC: {LIMIT: ((3, 2.0), (4, 1.0))},
        "ups-1": {"stays below full": ((3, 9.0),)},
    }
    assert list(lines(worth, 3, ("bess-1", POC))) == [
        "point of connection: import stands on its limit; 1 kW more import limit would save 2.000",
        "bess-1: full; 1 kWh more storage would save 0.500",
    ]
    assert list(lines(worth, 4)) == ["point of connection: import stands on its limit; 1 kW more import limit would save 1.000"]
    assert list(lines(worth, 5)) == []


def test_every_rule_told_of_is_a_constraint_of_some_block_and_balances_are_not_told() -> None:
    assert told("energy balance") is None and told("batch: defers at most what arrives") == (
        "batch: all of it is deferred",
        "1 kW more to defer",
    )
    names = {name.partition(": ")[2].rpartition(": ")[2] for name in PLANNER.problem.constraints}
    assert {"stays within the import limit", "keeps the reserve", "stays below the ceiling", "recovered by the deadline"} <= names & set(
        RULES
    )


def test_the_worths_travel_with_the_plan() -> None:
    assert decode_plan(encode_plan(PLAN)) == PLAN


def test_the_snapshot_says_what_binds_now() -> None:
    loop = Loop(demo_site(1370.0), "plan")
    worth = {"bess-1": {"stays below the ceiling": ((0, 0.25),)}, POC: {LIMIT: ((7, 2.0),)}}
    now = replace(PLAN, made_at=START, valid_until=START + timedelta(hours=1), worth=worth)
    shift = START - PLAN.starts[0]
    now = replace(now, starts=tuple(s + shift for s in PLAN.starts))
    demand = {"hall-a": even(300.0), "hall-b": even(100.0)}
    decision = loop.cycle(demand, [("plan", encode_plan(now))])
    snapshot = encode_snapshot(loop.controller, decision, loop.images[-1], {})
    assert snapshot["plan"]["limits"] == {"bess-1": ["bess-1: full; 1 kWh more storage would save 0.250"]}


def ordered(*events: Obligation) -> PlanInputs:
    horizon = INPUTS.horizon
    envelope = import_envelope(horizon, MONDAY, SITE.point_of_connection.limits, events, None, 0.0)
    return replace(INPUTS, envelope=envelope)


def event(name: str, kw: float) -> Obligation:
    return Obligation(name, ObligationKind.IMPORT_LIMIT, kw, MONDAY + timedelta(hours=2), MONDAY + timedelta(hours=6), MONDAY)


def test_an_order_below_what_must_run_names_order_and_clash() -> None:
    plan = PLANNER.plan(ordered(event("grid-7", 150.0)))
    (line,) = [line for line in plan.lines if "cannot be met" in line]
    assert "grid-7 asks for 150 kW at 19 Aug" in line and "what must run takes" in line
    loop = Loop(demo_site(1370.0), "plan")
    body = {"id": "grid-7", "kind": "import_limit", "kw": 150.0, "program": "manual", "baseline_kw": None}
    times = {"start": START.isoformat(), "end": (START + timedelta(hours=1)).isoformat(), "notice_at": START.isoformat()}
    decision = loop.cycle({"hall-a": even(300.0), "hall-b": even(100.0)}, [("event", {**body, **times})])
    assert any(alarm.startswith("infeasible") and "event grid-7" in alarm for alarm in decision.alarms)


def test_of_two_orders_that_contradict_each_other_the_lower_holds_and_is_named() -> None:
    plan = PLANNER.plan(ordered(event("raise", 1000.0), event("cut", 800.0)))
    inside = [k for k, s in enumerate(plan.starts) if MONDAY + timedelta(hours=2) <= s < MONDAY + timedelta(hours=5)]
    named = {plan.binding[k] for k in inside if plan.import_kw[k] > 799.9}
    assert len(named) == 1 and "cut" in named.pop()
    assert max(plan.import_kw[k] for k in inside) <= 800.0 + 0.1
    assert np.isfinite(plan.objective)
