"""A feeder that carries halls and stores holds its limit, in either direction, and when the controller dies."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ems.guard.guard import share_caps
from ems.plan.plan import encode_plan
from ems.site.model import Site
from tests.control.loop import Loop, demo_site, even
from tests.control.plans import flat_plan

QUIET = {"hall-a": even(50.0), "hall-b": even(20.0)}
SURGE = {"hall-a": even(50.0), "hall-b": even(380.0)}
MIXED = [{"id": "mix", "limit_kw": 600, "assets": ["hall-b", "bess-1"]}]


class Watched(Loop):
    """A loop that keeps what flows through the feeders."""

    flows_kw: dict[str, list[float]]

    def _score(self, step: Any, step_s: float) -> None:
        super()._score(step, step_s)
        for feeder, kw in step.feeder_kw.items():
            self.flows_kw.setdefault(feeder, []).append(kw)


def watched(site: Site, temp_c: float = 15.0) -> Watched:
    loop = Watched(site, "plan", temp_c=temp_c)
    loop.flows_kw = {}
    return loop


def run(loop: Watched, storage_kw: float, demands: list[dict[str, Any]]) -> None:
    for k, demand in enumerate(demands):
        news = [("plan", encode_plan(flat_plan(loop.site, loop.now, storage_kw)))] if k % 60 == 0 else []
        loop.cycle(demand, news)


@pytest.mark.parametrize("cycle_s", [1.0, 5.0])
def test_work_that_rises_while_a_battery_charges_never_overloads_the_feeder_they_share(cycle_s: float) -> None:
    loop = watched(demo_site(1450.0, cycle_s, feeders=MIXED))
    n = int(60 / cycle_s)
    run(loop, 500.0, [QUIET] * n + [SURGE] * n)
    seconds = len(loop.flows_kw["mix"]) // 2
    assert max(loop.flows_kw["mix"]) <= 600.0
    assert loop.flows_kw["mix"][seconds - 1] > 300.0  # it charged all the same,
    assert loop.decisions[-1].state.clusters["hall-b"].power_kw > 500.0  # and let the work have the feeder
    told = [s for d in loop.decisions for s in d.written if s.asset == "bess-1"]
    assert any(s.reason.endswith("feeder limit") for s in told)


def test_a_controller_that_dies_leaves_no_charging_beside_the_contract_caps_that_overloads_the_feeder() -> None:
    loop = watched(demo_site(1450.0, feeders=MIXED))
    run(loop, 500.0, [QUIET] * 60)
    assert loop.decisions[-1].state.batteries["bess-1"].power_kw > 100.0
    for _ in range(100):  # nobody writes any more: the hall lapses to its contract cap while the battery still charges
        loop._step_plant({"hall-a": even(50.0), "hall-b": even(420.0)})
    assert max(loop.flows_kw["mix"]) <= 600.0


def test_caps_leave_room_for_charging_that_is_wanted_before_it_is_told() -> None:
    loop = watched(demo_site(1450.0, feeders=MIXED))
    run(loop, 0.0, [QUIET] * 30)
    run(loop, 500.0, [QUIET] * 20)
    feed = loop.decisions[-1].verdict.feeds[0]
    for decision in loop.decisions[30:]:
        charging_kw = next(s.power_kw for s in decision.written if s.asset == "bess-1")
        assert feed.load_kw(decision.verdict.ceilings_kw) + charging_kw <= feed.target_kw + 1.0
    assert loop.decisions[-1].state.batteries["bess-1"].power_kw > 100.0


@pytest.mark.parametrize(("assets", "sure_kw"), [(["bess-1"], 0.0), (["bess-1", "hall-b", "house"], 150.0)])
def test_stores_push_no_more_up_through_a_feeder_than_its_limit_and_the_load_that_is_sure(assets: list[str], sure_kw: float) -> None:
    loop = watched(demo_site(1450.0, feeders=[{"id": "up", "limit_kw": 800 if sure_kw else 250, "assets": assets}]), 35.0)
    if sure_kw:  # halls must fit down the feeder; up, a share of that will do
        small = replace(loop.site.feeders[0], limit_kw=250.0)
        loop = watched(replace(loop.site, feeders=(small,)), 35.0)
    run(loop, -500.0, [{"hall-a": even(600.0), "hall-b": even(0.0)}] * 30)
    given_kw = loop.decisions[-1].verdict.feeds[0].given_kw
    assert min(loop.flows_kw["up"]) >= -250.0
    assert -given_kw - 1.0 <= loop.decisions[-1].state.batteries["bess-1"].power_kw < -240.0 - 0.9 * sure_kw
    assert loop.decisions[-1].verdict.storage["bess-1"].low_rule == "feeder limit"


def test_a_silent_battery_counts_as_giving_all_it_can_through_its_feeder() -> None:
    more = {"kind": "battery", "power_kw": 200, "energy_kwh": 400, "ramp_kw_per_s": 100}
    link = {"page": "sunspec-der-battery", "host": "127.0.0.1", "port": 15027, "lease_s": 75}
    feeders = [{"id": "up", "limit_kw": 500, "assets": ["bess-1", "bess-2"]}]
    loop = watched(demo_site(1450.0, feeders=feeders, assets={"bess-2": {**more, "link": link}}), 35.0)
    run(loop, 0.0, [{"hall-a": even(600.0), "hall-b": even(300.0)}] * 5)
    heard_kw = loop.decisions[-1].verdict.feeds[0].given_kw
    loop.plant.devices["bess-2"].inject("silent", loop.now.timestamp() + 60.0)
    run(loop, 0.0, [{"hall-a": even(600.0), "hall-b": even(300.0)}] * 10)
    assert loop.decisions[-1].verdict.feeds[0].given_kw == pytest.approx(heard_kw - 200.0)


@pytest.mark.parametrize(("now_kw", "told_kw"), [(300.0, 0.0), (0.0, 300.0), (-300.0, 300.0)])
def test_a_hall_gets_no_part_of_its_feeder_that_a_store_takes_or_is_about_to_take(now_kw: float, told_kw: float) -> None:
    loop = watched(demo_site(1450.0, cycle_s=60.0, feeders=MIXED))
    verdict = replace(loop.cycle(SURGE).verdict, storage_now_kw={"bess-1": now_kw, "ups-1": 0.0})
    wants = {"hall-a": 500.0, "hall-b": 600.0}
    alone = share_caps(loop.site, replace(verdict, storage_now_kw={"bess-1": -300.0}), 1e4, wants, wants)
    beside = share_caps(loop.site, verdict, 1e4, wants, wants, {"bess-1": told_kw})
    assert 1.04 * alone["hall-b"] == pytest.approx(600.0 * 0.996, rel=0.02)
    assert beside["hall-b"] == pytest.approx(alone["hall-b"] - 300.0 / 1.04, rel=0.02)


def test_a_ups_fills_its_reserve_up_on_a_feeder_that_contract_caps_could_fill() -> None:
    loop = watched(demo_site(1450.0, feeders=[{"id": "hall", "limit_kw": 440, "assets": ["hall-b", "ups-1"]}]))
    loop.plant.devices["ups-1"].energy_kwh *= 0.5
    plan = flat_plan(loop.site, loop.now)
    plan = replace(plan, power_kw={**plan.power_kw, "ups-1": (80.0,) * len(plan.starts)})
    loop.cycle(QUIET, [("plan", encode_plan(plan))])
    for _ in range(90):
        loop.cycle(QUIET)
    assert loop.decisions[-1].verdict.feeds[0].charging_kw({}) < 30.0, "contract caps all but fill the feeder"
    assert loop.decisions[-1].state.upses["ups-1"].battery_kw == pytest.approx(80.0, abs=5.0)
    assert max(loop.flows_kw["hall"]) <= 440.0
