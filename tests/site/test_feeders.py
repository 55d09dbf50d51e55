"""Feeders in kVA, in the heat, and in pairs: site file, plan, guard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ems.errors import ConfigError
from ems.plan.planner import Planner
from ems.site.load import load_site
from ems.site.model import Feeder, Site
from tests.control.loop import Loop, even
from tests.plan.given import plan_inputs

DEMO = Path(__file__).parents[2] / "config/sites/demo-2mw.yaml"
HALLS = {"id": "halls", "limit_kw": 2000, "assets": ["hall-a", "hall-b", "ups-1"]}
UTILITY = {"id": "utility", "limit_kw": 1000, "assets": ["bess-1", "cooling-1", "house"]}


def site_with(halls: dict[str, Any], utility: dict[str, Any] | None = None, limit_kw: float = 1450) -> Site:
    assets = {"hall-a": {"contract_cap_kw": 600}, "hall-b": {"contract_cap_kw": 330}}
    feeders = [{**HALLS, **halls}, {**UTILITY, **(utility or {})}]
    return load_site(
        DEMO, {"point_of_connection": {"import_limit_kw": limit_kw}, "feeders": feeders, "plan": {"horizon_h": 24}, "assets": assets}
    )


def test_kva_times_the_power_factor_bounds_a_feeder_where_it_is_less() -> None:
    assert site_with({"kva": 1800, "power_factor": 0.95}).feeders[0].limit_kw == pytest.approx(1710.0)
    assert site_with({"kva": 4000, "power_factor": 0.95}).feeders[0].limit_kw == 2000.0


def test_heat_lowers_a_limit_and_an_unknown_temperature_counts_as_the_hottest() -> None:
    feeder = Feeder("f", None, 1000.0, (), ((30.0, 1.0), (50.0, 0.8)))
    assert [feeder.allowed_kw(t) for t in (20.0, 40.0, 60.0, None)] == pytest.approx([1000.0, 900.0, 800.0, 800.0])


def test_a_plan_keeps_a_feeder_in_the_heat_of_each_step() -> None:
    site = site_with({"limit_kw": 1150, "limit_by_ambient_c": [[25, 1], [40, 0.92]]})
    inputs = plan_inputs(site)
    plan = Planner(site).plan(inputs)
    carried = np.array(plan.power_kw["hall-a"]) + np.array(plan.power_kw["hall-b"])
    flow = 1.04 * carried + np.array(plan.power_kw["ups-1"])
    allowed = np.array([site.feeders[0].allowed_kw(float(t)) for t in inputs.outdoor_temp_c])
    assert (flow <= allowed + 0.01).all() and (flow > allowed - 1.0).any()


def test_either_of_two_partners_carries_both_in_the_plan() -> None:
    site = site_with({"partner": "utility", "limit_kw": 1300}, {"partner": "halls", "limit_kw": 1300}, limit_kw=1900)
    assert site.feeds(20.0)[-1][1] == 1300.0
    plan = Planner(site).plan(plan_inputs(site))
    assert max(plan.import_kw) <= 1300.01


def test_the_guard_never_lets_work_and_charging_together_overload_a_feeder() -> None:
    site = site_with({"limit_kw": 1200, "kva": 1150, "power_factor": 1.0}, limit_kw=1400)
    loop = Loop(site, "plan", temp_c=20.0)
    for _ in range(120):
        loop.cycle({"hall-a": even(750), "hall-b": even(420)})
        flow = sum(d.power_kw for d in (*loop.plant.clusters, *loop.plant.upses))
        assert flow <= 1150 * 1.001 or loop.now.timestamp() < loop.decisions[0].state.now.timestamp() + 5


def test_charging_is_bounded_by_what_its_feeder_has_left() -> None:
    site = site_with({}, {"limit_kw": 450})
    loop = Loop(site, "plan", temp_c=35.0)
    decision = loop.cycle({"hall-a": even(500), "hall-b": even(300)})
    envelope = decision.verdict.storage["bess-1"]
    assert envelope.high_rule == "feeder limit"
    assert envelope.high_kw <= 450 - decision.state.cooling_kw


@pytest.mark.parametrize(
    ("halls", "utility", "words"),
    [
        ({"kva": 800}, {}, "load below it at contract caps"),
        ({"partner": "utility"}, {}, "names this one as its partner"),
        ({"partner": "utility", "limit_kw": 1200}, {"partner": "halls", "limit_kw": 1200}, "with that of its partner"),
        ({"partner": "halls", "limit_kw": 3000}, {}, r"partner = halls: expected another feeder, neither this one"),
        ({"partner": "utility", "parent": "utility"}, {"partner": "halls", "limit_kw": 3000}, "utility: expected another feeder"),
        ({"limit_by_ambient_c": [[40, 1], [20, 0.5]]}, {}, "rising temperatures"),
    ],
)
def test_a_feeder_that_cannot_be_is_one_clear_line(halls: dict[str, Any], utility: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        site_with(halls, utility)
