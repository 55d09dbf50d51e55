"""Throughput over power: the first kilowatts cut lose the least work, in plan, check, bound and simulated cluster."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ems.assets.workload.block import SlowedWork
from ems.assets.workload.curve import cut_pieces, is_throughput, lost_kw
from ems.errors import ConfigError
from ems.plan.bound import BoundInputs, solve_bound
from ems.plan.inputs import PlanInputs
from ems.plan.planner import Planner
from ems.plan.verify import verify
from ems.site.load import load_site
from ems.site.model import Site
from ems.site.resolved import site_from_json, site_to_json
from simulators.devices.cluster import ClusterDevice, Demand
from tests.plan.given import plan_inputs
from tests.simulators.sites import cluster
from tests.site.conftest import DEMO

CURVE = ((0.0, 0.0), (0.35, 0.5), (0.7, 0.84), (1.0, 1.0))
HALLS = ("hall-a", "hall-b")
PLAIN: dict[str, Any] = {"plan": {"horizon_h": 24}, "tariff": {"demand_price_per_kw_month": 0.0}}


def site_with(limit_kw: float = 1250.0, **hall: Any) -> Site:
    assets = {name: hall for name in HALLS}
    return load_site(DEMO, {"point_of_connection": {"import_limit_kw": limit_kw}, "assets": assets, **PLAIN})


def slowed_site(limit_kw: float = 1250.0) -> Site:
    return site_with(limit_kw, throughput_by_power=[list(point) for point in CURVE])


@st.composite
def curves(draw: st.DrawFn) -> tuple[tuple[float, float], ...]:
    """Concave curves: rising steps in x, slopes that fall, scaled to end at (1, 1)."""
    widths = draw(st.lists(st.floats(0.05, 1.0), min_size=1, max_size=6))
    slopes = sorted(draw(st.lists(st.floats(0.05, 3.0), min_size=len(widths), max_size=len(widths))), reverse=True)
    x = np.r_[0.0, np.cumsum(widths)] / sum(widths)
    y = np.r_[0.0, np.cumsum(np.multiply(widths, slopes))]
    return tuple((float(a), float(b)) for a, b in zip(x / x[-1], y / y[-1], strict=True))


@given(curves(), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
@settings(max_examples=60, deadline=None)
def test_work_lost_is_convex_in_the_cut_and_a_whole_cut_loses_all(points: tuple[tuple[float, float], ...], a: float, b: float) -> None:
    assert is_throughput(points)
    xs, ys = zip(*points, strict=True)
    for cut in (a, b):
        assert lost_kw(points, 200.0 * cut, 200.0) == pytest.approx(200.0 * (1.0 - np.interp(1.0 - cut, xs, ys)), abs=1e-6)
    middle = lost_kw(points, 100.0 * (a + b), 200.0)
    assert middle <= 0.5 * (lost_kw(points, 200.0 * a, 200.0) + lost_kw(points, 200.0 * b, 200.0)) + 1e-6
    assert sum(width * slope for width, slope in cut_pieces(points)) == pytest.approx(1.0)
    assert lost_kw((), 50.0, 200.0) == 50.0


@pytest.mark.parametrize(
    "points",
    [
        [[0, 0], [0.5, 0.3], [1, 1]],  # the first kilowatts would cost the most
        [[0, 0], [0.5, 0.9], [0.8, 0.8], [1, 1]],  # less work with more power
        [[0, 0], [0.6, 0.8], [0.4, 0.9], [1, 1]],
        [[0, 0.1], [1, 1]],
        [[0, 0], [1, 0.9]],
        [[0, 0]],
    ],
)
@pytest.mark.parametrize("where", ["hall", "class"])
def test_a_curve_that_is_not_concave_and_rising_is_refused_in_one_line(points: list[list[float]], where: str) -> None:
    curve = {"throughput_by_power": points}
    with pytest.raises(ConfigError) as refused:
        site_with(**(curve if where == "hall" else {"classes": {"batch": curve}}))
    lines = str(refused.value).splitlines()
    assert lines and all("throughput_by_power" in line and "from [0, 0] to [1, 1]" in line for line in lines)
    assert len(lines) == len(HALLS)


def test_a_class_without_a_curve_has_that_of_its_cluster() -> None:
    own = [[0, 0], [0.5, 0.8], [1, 1]]
    site = site_with(throughput_by_power=[list(p) for p in CURVE], classes={"batch": {"throughput_by_power": own}})
    kinds = site.clusters[0].classes
    assert kinds["training"].throughput_by_power == CURVE
    assert site_from_json(site_to_json(site)) == site  # as the control process gets it
    assert kinds["batch"].throughput_by_power == ((0.0, 0.0), (0.5, 0.8), (1.0, 1.0))


def test_by_hand_a_cut_fills_its_parts_and_one_kilowatt_more_breaks_them() -> None:
    cut_kw = cp.Variable(2)
    slowed = SlowedWork(CURVE, cut_kw)
    slowed.update(np.array([100.0, 200.0]))
    cut_kw.value = np.array([40.0, 60.0])
    for part, kw in zip(slowed.part_kw, ([30.0, 60.0], [10.0, 0.0], [0.0, 0.0]), strict=True):
        part.value = np.array(kw)
    assert all(np.max(c.violation()) < 1e-9 for c in slowed.constraints.values())
    assert slowed.lost_kw.value == pytest.approx([30.0 * 16 / 30 + 10.0 * 34 / 35, 60.0 * 16 / 30])
    slowed.part_kw[0].value = np.array([31.0, 60.0])
    cut_kw.value = np.array([41.0, 60.0])
    assert [name for name, c in slowed.constraints.items() if np.max(c.violation()) > 1e-9] == ["slows along its curve (0)"]


def test_no_curve_adds_no_row_and_a_straight_one_plans_the_same() -> None:
    free, straight = Planner(site_with()), Planner(site_with(throughput_by_power=[[0, 0], [1, 1]]))
    inputs = replace(plan_inputs(free.site), backlog={})
    assert not any("curve" in name or "free" in name for name in free.problem.constraints)
    # what slows keeps its machines: the straight curve may be dearer by the machines that recovery may not use
    assert straight.plan(inputs).objective == pytest.approx(free.plan(inputs).objective, rel=2e-3)


def test_a_plan_under_a_tight_limit_costs_less_work_with_the_curve_and_stands_its_check() -> None:
    cheap = {"classes": {"interactive": {"throttle_price_per_kwh": 0.2}}}
    linear, slowed = site_with(1100.0, **cheap), site_with(1100.0, throughput_by_power=[list(p) for p in CURVE], **cheap)
    inputs = plan_inputs(slowed)
    without, plan = Planner(linear).plan(inputs), Planner(slowed).plan(inputs)
    assert verify(slowed, inputs, plan) == []
    assert plan.cost["workload"] < without.cost["workload"] - 10.0 and plan.objective < without.objective - 20.0
    hall = slowed.clusters[0]
    arriving = 0.4 * (np.clip(inputs.load_q50_kw["hall-a"], hall.idle_kw, hall.rating_kw) - hall.idle_kw)
    slow, cut = (np.array(p.classes["hall-a"]["interactive"].throttle_kw) for p in (plan, without))
    assert np.mean((slow > 1.0) & (slow < 0.31 * arriving)) > 0.2  # slowed by its cheap part for long
    assert np.mean(cut > 0.9 * arriving) > np.mean(slow > 0.9 * arriving)  # instead of cut off for a while


def test_the_check_refuses_work_priced_too_low_and_work_made_up_that_was_never_put_off() -> None:
    site = slowed_site(1100.0)
    inputs = replace(plan_inputs(site), backlog={})
    plan = Planner(site).plan(inputs)
    hidden = 0.4 * plan.cost["workload"]
    cost = {**plan.cost, "workload": plan.cost["workload"] - hidden, "other": plan.cost["other"] + hidden}
    assert any("work held back costs" in fault for fault in verify(site, inputs, replace(plan, cost=cost)))
    as_if_linear = verify(site_with(1100.0), inputs, plan)
    assert any("work held back costs" in fault for fault in as_if_linear)
    batch = plan.classes["hall-a"]["batch"]
    eager = replace(batch, recover_kw=tuple(d for d in batch.defer_kw))  # makes up all the power it saved: more work than waits
    moved = replace(plan, classes={**plan.classes, "hall-a": {**plan.classes["hall-a"], "batch": eager}})
    assert any("recovers more than waits" in fault for fault in verify(site, inputs, moved))


def test_where_prices_are_far_below_zero_no_work_is_lost_to_burn_energy_later() -> None:
    site = slowed_site(1370.0)
    inputs = plan_inputs(site)
    at_h = np.r_[0.0, np.cumsum(inputs.horizon.duration_h)[:-1]]
    price = np.where(at_h >= 10.0, -3.0, np.where(at_h < 4.0, 0.5, 0.02))
    inputs = replace(inputs, backlog={}, import_price_per_kwh=price)
    assert verify(site, inputs, Planner(site).plan(inputs)) == []


def test_a_tier_is_a_share_of_work_so_that_slowed_work_gives_more_power() -> None:
    tier = {"classes": {"batch": {"tier_loss": 0.1}}}
    linear, slowed = site_with(1450.0, **tier), site_with(1450.0, throughput_by_power=[list(p) for p in CURVE], **tier)
    inputs = given_dear_afternoon(slowed)
    power = {}
    for name, site in (("linear", linear), ("slowed", slowed)):
        plan = Planner(site).plan(inputs)
        hours = np.array(plan.duration_h)
        batch = plan.classes["hall-a"]["batch"]
        dear = inputs.import_price_per_kwh > 0.5
        power[name] = float((hours * dear) @ (np.array(batch.defer_kw) - np.array(batch.recover_kw)))
    assert power["slowed"] > 1.2 * power["linear"]


def given_dear_afternoon(site: Site) -> PlanInputs:
    found = plan_inputs(site)
    at_h = np.r_[0.0, np.cumsum(found.horizon.duration_h)[:-1]]
    return replace(found, import_price_per_kwh=np.where((at_h >= 8.0) & (at_h < 12.0), 1.0, 0.02), backlog={})


def test_by_hand_the_bound_prices_a_cut_along_the_curve() -> None:
    site = slowed_site()
    plain = site_with()
    n = 4
    inputs = replace(bound_window(site, n), import_limit_kw=np.full(n, 1000.0))
    assert solve_bound(site, inputs).total < solve_bound(plain, inputs).total - 1.0
    straight = site_with(throughput_by_power=[[0, 0], [1, 1]])
    assert solve_bound(straight, inputs).total == pytest.approx(solve_bound(plain, inputs).total, rel=1e-9)


def bound_window(site: Site, n: int) -> BoundInputs:
    given = plan_inputs(site)
    demand = {c.id: {k: np.full(n, kind.share * (c.peak_kw - c.idle_kw)) for k, kind in c.classes.items()} for c in site.clusters}
    start = given.horizon.starts[0]
    starts = tuple(start + (given.horizon.starts[1] - start) * 3 * k for k in range(n))
    return BoundInputs(starts, demand, np.full(n, 0.05), np.full(n, 30.0), {"bess-1": 50.0, "ups-1": 400.0})


ASKED = Demand(interactive_kw=240.0, batch_kw=240.0, training_kw=120.0, prompt_tokens_per_s=480.0, output_tokens_per_s=96.0)


def slowed_hall(**commands: float) -> ClusterDevice:
    rating = cluster("hall-a", 900.0, 0)
    device = ClusterDevice(
        replace(rating, classes={k: replace(v, throughput_by_power=CURVE) for k, v in rating.classes.items()}), Random(0)
    )
    for command, value in commands.items():
        device.write(command, value, 0.0)
    return device


def test_a_simulated_class_with_less_power_does_more_than_its_share_and_its_tokens_follow() -> None:
    device = slowed_hall(batch_limit_kw=168.0, interactive_limit_kw=168.0)  # 70 % of the power, 84 % of the work
    device.step(3600.0, 0.0, ASKED)
    assert device.power_kw == pytest.approx(270.0 + 168.0 + 168.0 + 120.0)
    assert device.work["interactive"].throttled_kwh == pytest.approx(0.16 * 240.0)
    assert device.work["batch"].deferred_kwh == pytest.approx(0.16 * 240.0) == pytest.approx(device.backlogs["batch"].kwh)
    assert device.output_tokens == pytest.approx(0.84 * 96.0 * 3600.0)


def test_simulated_work_is_made_up_beside_slowed_work_while_machines_stand_free() -> None:
    device = slowed_hall(batch_limit_kw=0.0)
    device.step(3600.0, 0.0, Demand(0.0, 100.0, 0.0))
    device.write("batch_limit_kw", 100.0, 3600.0)
    device.step(3600.0, 3600.0, Demand(0.0, 100.0, 0.0))
    done = device.work["batch"]
    assert device.power_kw == pytest.approx(370.0)  # not a kW more than the limit
    assert done.recovered_kwh == pytest.approx(65.0) and done.served_kwh == pytest.approx(65.0 + 50.0)  # 35 kW do the work of 50
    full = slowed_hall(batch_limit_kw=0.0)
    full.step(3600.0, 0.0, Demand(0.0, 100.0, 0.0))
    full.write("batch_limit_kw", 400.0, 3600.0)
    full.step(3600.0, 3600.0, Demand(400.0, 410.0, 0.0))  # every machine has work: nothing stands free
    assert full.work["batch"].recovered_kwh == pytest.approx(0.0)


@given(st.lists(st.tuples(*[st.floats(0.0, 300.0)] * 3, st.floats(200.0, 1080.0)), min_size=1, max_size=12), curves())
@settings(max_examples=40, deadline=None)
def test_simulated_work_is_never_lost_twice_nor_made_from_nothing(
    steps: list[tuple[float, float, float, float]], points: tuple[tuple[float, float], ...]
) -> None:
    device = slowed_hall()
    device._curves = dict.fromkeys(("interactive", "batch", "training"), points)
    at_s, deferred, gone = 0.0, 0.0, 0.0
    for interactive, batch, training, cap_kw in steps:
        device.write("power_cap_kw", cap_kw, at_s)
        device.step(600.0, at_s, Demand(interactive, batch, training))
        at_s += 600.0
        asked = device.demand
        for name, kw in zip(("interactive", "batch", "training"), asked, strict=False):
            work = device.work[name]
            fresh = work.served_kwh - work.recovered_kwh
            assert fresh + work.deferred_kwh + work.throttled_kwh == pytest.approx(kw / 6.0, abs=1e-6)
            deferred, gone = deferred + work.deferred_kwh, gone + work.recovered_kwh + work.dropped_kwh
        assert device.power_kw <= max(270.0, cap_kw) + 1e-6
        assert sum(b.kwh for b in device.backlogs.values()) == pytest.approx(deferred - gone, abs=1e-5)
