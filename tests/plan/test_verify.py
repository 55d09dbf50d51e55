"""One number of a plan changed, anywhere: the check refuses it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ems.plan.inputs import PlanInputs
from ems.plan.plan import ClassPlan, Plan
from ems.plan.planner import Planner
from ems.plan.verify import verify
from ems.plan.verify_inside import overdue_kwh
from tests.plan.given import MONDAY, demo_site, plan_inputs

SITE = demo_site(import_limit_kw=1250.0)  # tight: work is deferred, recovered and throttled
PLANNER = Planner(SITE)
HONEST: list[tuple[PlanInputs, Plan]] = []


def honest(which: int) -> tuple[PlanInputs, Plan]:
    """Plans of three days, made once."""
    while len(HONEST) <= which:
        inputs = plan_inputs(SITE, MONDAY + timedelta(hours=7 * len(HONEST)), seed=len(HONEST), peak_so_far_kw=700.0)
        HONEST.append((inputs, PLANNER.plan(inputs)))
    return HONEST[which]


def nudged(row: tuple[float, ...], step: int, by: float) -> tuple[float, ...]:
    values = list(row)
    values[step] += by
    return tuple(values)


def class_changed(plan: Plan, cluster: str, name: str, row: str, step: int, by: float) -> Plan:
    old: ClassPlan = plan.classes[cluster][name]
    new = replace(old, **{row: nudged(getattr(old, row), step, by)})
    return replace(plan, classes={**plan.classes, cluster: {**plan.classes[cluster], name: new}})


CHANGES: dict[str, Callable[[Plan, int, float], Plan]] = {
    "import": lambda p, k, d: replace(p, import_kw=nudged(p.import_kw, k, d)),
    "battery power": lambda p, k, d: replace(p, power_kw={**p.power_kw, "bess-1": nudged(p.power_kw["bess-1"], k, d)}),
    "ups power": lambda p, k, d: replace(p, power_kw={**p.power_kw, "ups-1": nudged(p.power_kw["ups-1"], k, d)}),
    "hall power": lambda p, k, d: replace(p, power_kw={**p.power_kw, "hall-a": nudged(p.power_kw["hall-a"], k, d)}),
    "battery energy": lambda p, k, d: replace(p, energy_kwh={**p.energy_kwh, "bess-1": nudged(p.energy_kwh["bess-1"], k, d)}),
    "ups energy": lambda p, k, d: replace(p, energy_kwh={**p.energy_kwh, "ups-1": nudged(p.energy_kwh["ups-1"], k, d)}),
    "deferred": lambda p, k, d: class_changed(p, "hall-b", "batch", "defer_kw", k, d),
    "recovered": lambda p, k, d: class_changed(p, "hall-a", "training", "recover_kw", k, d),
    "throttled": lambda p, k, d: class_changed(p, "hall-a", "interactive", "throttle_kw", k, d),
    "peak": lambda p, k, d: replace(p, peak_kw=p.peak_kw + d),
    "objective": lambda p, k, d: replace(p, objective=p.objective + d),
    "energy cost": lambda p, k, d: replace(p, cost={**p.cost, "energy": p.cost["energy"] + d}),
    "a part of the cost moved to another": lambda p, k, d: replace(
        p, cost={**p.cost, "wear": p.cost["wear"] - abs(d), "other": p.cost["other"] + abs(d)}
    ),
    "work made cheaper": lambda p, k, d: replace(
        p, cost={**p.cost, "workload": p.cost["workload"] - abs(d), "other": p.cost["other"] + abs(d)}
    ),
}


@pytest.mark.parametrize("family", sorted(CHANGES))
@settings(max_examples=12, deadline=None)
@given(which=st.integers(0, 2), step=st.integers(0, 81), size=st.floats(2.0, 500.0), is_up=st.booleans())
def test_a_plan_with_one_number_changed_is_refused(family: str, which: int, step: int, size: float, is_up: bool) -> None:
    inputs, plan = honest(which)
    assert verify(SITE, inputs, plan) == []
    changed = CHANGES[family](plan, step, size if is_up else -size)
    assert verify(SITE, inputs, changed)


def late(inputs: PlanInputs, plan: Plan, hours: int) -> float:
    """How much is overdue when the first batch work recovered in the plan is recovered only that much later."""
    cluster = SITE.clusters[0]
    planned = plan.classes[cluster.id]["batch"]
    n = len(plan.duration_h)
    defer = tuple(50.0 if k == 0 else 0.0 for k in range(n))
    at = next(k for k in range(n) if sum(plan.duration_h[:k]) >= hours)
    recover = tuple(50.0 * plan.duration_h[0] / plan.duration_h[k] if k == at else 0.0 for k in range(n))
    fresh = replace(inputs, backlog={})
    return overdue_kwh(cluster, "batch", fresh, replace(planned, defer_kw=defer, recover_kw=recover), np.array(plan.duration_h))


def test_work_is_overdue_when_it_comes_back_after_its_deadline() -> None:
    inputs, plan = honest(0)
    deadline_h = SITE.clusters[0].classes["batch"].deadline_h or 0.0
    moved_kwh = 50.0 * plan.duration_h[0]
    assert late(inputs, plan, int(deadline_h) - 2) == pytest.approx(0.0, abs=1e-9)
    assert late(inputs, plan, int(deadline_h) + 6) == pytest.approx(moved_kwh)


def test_late_work_must_be_paid_for_as_lost() -> None:
    inputs, plan = honest(0)
    cluster, n = SITE.clusters[0], len(plan.duration_h)
    state = inputs.backlog[cluster.id]["batch"]
    assert state.backlog_kwh > 1.0
    planned = replace(plan.classes[cluster.id]["batch"], recover_kw=(0.0,) * n)
    changed = replace(plan, classes={**plan.classes, cluster.id: {**plan.classes[cluster.id], "batch": planned}})
    assert any("work is late" in fault for fault in verify(SITE, inputs, changed))


def test_a_feeder_above_its_limit_is_refused_while_work_below_it_could_be_cut() -> None:
    inputs, plan = honest(0)
    assert SITE.feeders
    small = replace(SITE, feeders=(replace(SITE.feeders[0], limit_kw=0.5 * max(plan.power_kw["hall-a"])), *SITE.feeders[1:]))
    assert any("although work could still be cut" in fault for fault in verify(small, inputs, plan))
