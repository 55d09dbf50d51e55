"""What feeders lose between the meter and the assets: site file, plan, simulated plant, guard."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ems.errors import ConfigError
from ems.plan.planner import Planner
from ems.plan.verify import verify
from ems.site.load import load_site
from ems.site.model import Site
from ems.site.resolved import site_from_json, site_to_json
from simulators.plant import feeder_losses_kw
from tests.control.loop import Loop, even
from tests.plan.given import plan_inputs

DEMO = Path(__file__).parents[2] / "config/sites/demo-2mw.yaml"
MAIN, HALLS = 0.02, 0.01
TREE = [
    {"id": "main", "limit_kw": 3000, "loss_fraction": MAIN, "assets": ["bess-1", "cooling-1", "house"]},
    {"id": "halls", "parent": "main", "limit_kw": 2500, "loss_fraction": HALLS, "assets": ["hall-a", "hall-b", "ups-1"]},
]


def site_with(feeders: list[dict[str, Any]], limit_kw: float = 1450.0) -> Site:
    return load_site(DEMO, {"point_of_connection": {"import_limit_kw": limit_kw}, "feeders": feeders, "plan": {"horizon_h": 24}})


def without_losses(feeders: list[dict[str, Any]], **keys: float) -> list[dict[str, Any]]:
    return [{k: v for k, v in f.items() if k != "loss_fraction"} | keys for f in feeders]


def test_losses_multiply_on_the_way_down_and_survive_the_journey_as_json() -> None:
    site = site_with(TREE)
    assert site.losses["cooling-1"] == pytest.approx(MAIN)
    assert site.losses["hall-a"] == site.worst_loss == pytest.approx(1.02 * 1.01 - 1.0)
    assert site_from_json(site_to_json(site)) == site


def test_contract_caps_leave_room_for_the_losses() -> None:
    plain, lossy = (sum(c.contract_cap_kw for c in site_with(f).clusters) for f in (without_losses(TREE), TREE))
    house_kw = sum(f.power_kw for f in site_with(TREE).fixed_loads)
    assert lossy / plain == pytest.approx((1450.0 / (1.02 * 1.01) - house_kw) / (1450.0 - house_kw), rel=0.01)


def test_a_plan_imports_what_is_lost_as_well_and_stands_its_check() -> None:
    site = site_with(TREE)
    inputs = plan_inputs(site)
    plan = Planner(site).plan(inputs)
    halls = 1.04 * (np.array(plan.power_kw["hall-a"]) + np.array(plan.power_kw["hall-b"])) + np.array(plan.power_kw["ups-1"])
    lost_kw = np.array(plan.import_kw) - np.array(plan.import_kw) / 1.02 + HALLS * halls
    lossless = replace(site, feeders=tuple(replace(f, loss_fraction=0.0) for f in site.feeders))
    assert verify(site, inputs, plan) == [] and (lost_kw > 15.0).all()
    worst_kw = float(lost_kw.max())
    (fault,) = (f for f in verify(lossless, inputs, plan) if "sum of its parts" in f)
    assert f"by {worst_kw:.2f}"[:-1] in fault


def test_a_loss_of_nothing_is_the_plan_without_one_to_the_last_digit() -> None:
    absent, zero = (site_with(without_losses(TREE, **keys)) for keys in ({}, {"loss_fraction": 0.0}))
    a, b = (Planner(site).plan(plan_inputs(site)) for site in (absent, zero))
    assert a == b


def test_the_limit_of_a_feeder_stands_where_power_flows_in() -> None:
    tight = [TREE[0], {**TREE[1], "limit_kw": 1190}]
    site = site_with(tight)
    plan = Planner(site).plan(plan_inputs(site))
    halls = 1.04 * (np.array(plan.power_kw["hall-a"]) + np.array(plan.power_kw["hall-b"])) + np.array(plan.power_kw["ups-1"])
    assert 1189.0 < (1.01 * halls).max() <= 1190.01
    assert site.feeds(20.0)[1][1] == pytest.approx(1190 / 1.01)


def test_the_plant_loses_a_fraction_of_what_flows_out_of_each_feeder() -> None:
    site = site_with(TREE)
    drawn = {"bess-1": 100.0, "cooling-1": 200.0, "house": 40.0, "hall-a": 500.0, "hall-b": 300.0, "ups-1": 32.0}
    lost = feeder_losses_kw(site.feeders, drawn)
    assert lost == pytest.approx({"halls-losses": 8.32, "main-losses": 0.02 * (340.0 + 832.0 + 8.32)})


def test_the_import_limit_holds_with_losses_and_the_meter_is_the_sum_of_assets_and_losses() -> None:
    site = site_with(TREE)
    loop = Loop(site, "plan", temp_c=38.0)
    truth = loop.run(240, lambda k: {"hall-a": even(500 if k < 60 else 850), "hall-b": even(300 if k < 60 else 480)})
    assert truth.over_s == 0.0 and truth.worst_kw > 0.97 * 1450.0
    step = loop.plant.step(1.0, loop.now, {"hall-a": even(500), "hall-b": even(300)}, 38.0)
    assert step.poc_kw == pytest.approx(sum(step.asset_kw.values())) and step.asset_kw["main-losses"] > 10.0
    assert step.feeder_kw["main"] == pytest.approx(step.poc_kw) and step.loss_kw > sum(
        step.asset_kw[f"{f}-losses"] for f in ("main", "halls")
    )


@pytest.mark.parametrize(
    "feeders",
    [
        [{"id": "store", "limit_kw": 600, "loss_fraction": 0.01, "assets": ["bess-1"]}],
        [{**TREE[0], "assets": ["bess-1", "house"]}, TREE[1]],
    ],
)
def test_a_feeder_whose_flow_may_turn_round_is_refused_a_loss(feeders: list[dict[str, Any]]) -> None:
    with pytest.raises(ConfigError, match=r"loss_fraction = 0\.0\d: expected 0 where what hangs below can feed back"):
        site_with(feeders)
