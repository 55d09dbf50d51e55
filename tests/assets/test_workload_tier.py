"""A tier: how much of a class's work may be missing at the end of any window of some hours."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cvxpy as cp
import numpy as np
import pytest

from ems.assets.workload.block import TIER_AIM, TIER_PRICE_PER_KWH, TierRule
from ems.assets.workload.model import NO_PAST, TierPast, WorkloadClass
from ems.plan.blocks import checkpoints
from ems.plan.inputs import PlanInputs
from ems.plan.plan import Plan
from ems.plan.planner import Planner
from ems.plan.verify import verify
from ems.plan.verify_tier import beyond_tier_kwh
from ems.site.load import load_site
from ems.site.model import Site
from ems.timegrid import TimeGrid
from tests.plan.given import plan_inputs
from tests.site.conftest import DEMO

LOSS, WINDOW_H = 0.1, 6.0
PLAIN: dict[str, Any] = {"plan": {"horizon_h": 24}, "tariff": {"demand_price_per_kw_month": 0.0}}
TIER = {"tier_loss": LOSS, "tier_window_h": WINDOW_H}


def site_with(limit_kw: float = 1450.0, **tiers: dict[str, Any]) -> Site:
    halls = {hall: {"classes": tiers} for hall in ("hall-a", "hall-b")}
    return load_site(DEMO, {"point_of_connection": {"import_limit_kw": limit_kw}, "assets": halls, **PLAIN})


def dear_afternoon(site: Site) -> PlanInputs:
    """Four hours at fifty times the price of the others, from eight hours on; nothing waits yet."""
    given = plan_inputs(site)
    at_h = np.r_[0.0, np.cumsum(given.horizon.duration_h)[:-1]]
    return replace(given, import_price_per_kwh=np.where((at_h >= 8.0) & (at_h < 12.0), 1.0, 0.02), backlog={})


def missing(site: Site, plan: Plan, hall: str, name: str) -> float:
    """The worst share missing at the end of any window that ends at a checkpoint of the plan, an hour apart."""
    cluster, work, hours = next(c for c in site.clusters if c.id == hall), plan.classes[hall][name], np.array(plan.duration_h)
    held = np.array(work.throttle_kw) + np.array(work.defer_kw) - np.array(work.recover_kw)
    arriving = cluster.classes[name].share * (np.clip(plan.load_q50_kw[hall], cluster.idle_kw, cluster.rating_kw) - cluster.idle_kw)
    at_h, held_kwh, arrived_kwh = (np.r_[0.0, np.cumsum(hours * kw)] for kw in (np.ones(len(hours)), held, arriving))
    ends = at_h[[k for k in checkpoints(TimeGrid.covering(24)) if at_h[k] >= WINDOW_H]]
    rows = [np.interp(ends, at_h, kwh) - np.interp(ends - WINDOW_H, at_h, kwh) for kwh in (held_kwh, arrived_kwh)]
    return float(np.max(rows[0] / rows[1]))


def test_a_plan_keeps_a_tier_that_it_would_break_for_money() -> None:
    free, bound = site_with(), site_with(batch=TIER)
    inputs = dear_afternoon(free)
    without, plan = Planner(free).plan(inputs), Planner(bound).plan(inputs)
    assert missing(free, without, "hall-a", "batch") > 2.0 * LOSS
    assert LOSS - 0.03 < missing(bound, plan, "hall-a", "batch") <= 1.25 * LOSS  # a window may begin between two boundaries of the plan
    assert verify(bound, inputs, plan) == [] and plan.objective > without.objective


def test_a_plan_that_breaks_a_tier_without_paying_for_it_is_refused() -> None:
    free, bound = site_with(), site_with(batch=TIER)
    inputs = dear_afternoon(free)
    plan = Planner(free).plan(inputs)
    (said,) = verify(bound, inputs, plan)
    assert "kWh beyond its tier" in said
    cluster = next(c for c in bound.clusters if c.id == "hall-a")
    beyond = [beyond_tier_kwh(c, "batch", inputs, plan) for c in bound.clusters]
    assert beyond_tier_kwh(cluster, "batch", inputs, plan) > 10.0
    paid = {**plan.cost, "tier": TIER_PRICE_PER_KWH * sum(beyond), "other": plan.cost["other"] - TIER_PRICE_PER_KWH * sum(beyond)}
    assert verify(bound, inputs, replace(plan, cost=paid)) == []


def test_what_a_tier_is_overrun_by_stands_in_the_cost_of_the_plan() -> None:
    site = site_with(700.0, batch={"tier_loss": 0.0}, training={"tier_loss": 0.0}, interactive={"tier_loss": 0.0})
    inputs = dear_afternoon(site)
    plan = Planner(site).plan(inputs)
    beyond = sum(beyond_tier_kwh(c, name, inputs, plan) for c in site.clusters for name in c.classes)
    assert plan.cost["tier"] >= TIER_PRICE_PER_KWH * beyond > 100.0


def test_a_tier_that_allows_everything_changes_nothing_and_no_tier_adds_no_row() -> None:
    free, all_allowed = Planner(site_with()), Planner(site_with(batch={"tier_loss": 1.0}))
    inputs = dear_afternoon(site_with())
    assert all_allowed.plan(inputs).objective == pytest.approx(free.plan(inputs).objective, rel=1e-6)
    assert not any("tier" in name for name in free.problem.constraints)


def test_the_import_limit_comes_before_a_tier() -> None:
    site = site_with(batch={"tier_loss": 0.0}, training={"tier_loss": 0.0}, interactive={"tier_loss": 0.0})
    inputs = dear_afternoon(site)
    low = replace(inputs, envelope=replace(inputs.envelope, kw=np.full(inputs.horizon.n, 900.0)))
    plan = Planner(site).plan(low)
    assert max(plan.import_kw) <= 900.0 + 0.1
    assert missing(site, plan, "hall-a", "batch") > 0.05


HOURS = np.array([1.0, 1.0, 1.0, 1.0])


def rule(loss: float = 0.25) -> tuple[TierRule, cp.Variable]:
    """Windows of two hours that end after each hour; 100 kW arrive. Of the tier the plan aims at a part: here that part is `loss`."""
    held_kw, duration_h = cp.Variable(4), cp.Parameter(4, nonneg=True)
    duration_h.value = HOURS
    kind = WorkloadClass(0.5, None, 0.1, 1.0, 8.0, loss / TIER_AIM, 2.0)
    return TierRule(kind, held_kw, duration_h, [(0, 1), (0, 2), (1, 3), (2, 4)]), held_kw


def violated(tier: TierRule, held_kw: cp.Variable, values: list[float], past: TierPast = NO_PAST) -> list[str]:
    tier.update(np.full(4, 100.0), np.arange(5.0), past)
    held_kw.value, tier.beyond_kwh.value = np.array(values), 0.0
    tier.held_kwh.value = np.r_[0.0, np.cumsum(values)]
    return [name for name, c in tier.constraints.items() if np.max(c.violation()) > 1e-9]


def test_by_hand_a_window_holds_and_one_kilowatt_hour_more_breaks_it() -> None:
    tier, held = rule()
    assert violated(tier, held, [25.0, 25.0, 25.0, 25.0]) == []
    assert violated(tier, held, [20.0, 30.0, 21.0, 29.0]) == ["loses no more than its tier allows"]  # 51 of 200 kWh in the second window
    assert violated(tier, held, [25.0, -60.0, 85.0, -60.0]) == []  # made up before


def test_what_was_held_back_before_now_counts_in_the_windows_that_reach_back() -> None:
    tier, held = rule()
    past = TierPast((0.0, 1.0, 24.0), (0.0, 100.0, 2400.0), (0.0, 50.0, 50.0))
    assert violated(tier, held, [0.0, 25.0, 25.0, 25.0], past) == []
    assert violated(tier, held, [1.0, 24.0, 25.0, 25.0], past) == ["loses no more than its tier allows"]
    spent = TierPast((0.0, 1.0, 24.0), (0.0, 100.0, 2400.0), (0.0, 90.0, 90.0))
    assert violated(tier, held, [0.0, 25.0, 25.0, 25.0], spent) == []  # what is lost is lost: nothing more, and no impossible wish
