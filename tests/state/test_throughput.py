"""A day's throughput of a store: counted from what is measured, kept over a restart, never exceeded, known to the plan."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from ems.assets.battery.envelope import battery_envelope
from ems.assets.battery.model import BatteryState
from ems.assets.ups.envelope import ups_envelope
from ems.assets.ups.model import UpsState
from ems.control.controller import Controller
from ems.control.plan_state import plan_state
from ems.messages import Mode
from ems.plan.plan import encode_plan
from ems.plan.planner import Planner
from ems.plan.state import PlanState
from ems.plan.verify import verify
from ems.site.model import Site
from ems.state.throughput import DayThroughput
from tests.control.loop import Loop, demo_site, even
from tests.control.plans import flat_plan
from tests.plan.given import plan_inputs

DEMAND = {"hall-a": even(450.0), "hall-b": even(200.0)}


def budgeted(kwh_per_day: float, cycle_s: float = 5.0) -> Site:
    site = demo_site(1370.0, cycle_s)
    battery, ups = (replace(site.batteries[0], warranty_kwh_per_day=kwh_per_day), replace(site.upses[0], cell_kwh_per_day=kwh_per_day))
    return replace(site, assets={**site.assets, "bess-1": battery, "ups-1": ups})


def discharging(site: Site, loop: Loop) -> list[tuple[str, dict[str, object]]]:
    plan = flat_plan(site, loop.now, storage_kw=-300.0, peak_kw=2000.0)
    return [("plan", encode_plan(replace(plan, valid_until=loop.now + timedelta(hours=1))))]


def test_a_battery_gives_no_more_in_a_day_than_its_warranty_whatever_the_plan_asks() -> None:
    site = budgeted(40.0)
    loop = Loop(site, "plan")
    begun_kwh = loop.plant.batteries[0].energy_kwh
    for k in range(360):
        loop.cycle(DEMAND, discharging(site, loop) if k == 0 else [])
    given_kwh = (begun_kwh - loop.plant.batteries[0].energy_kwh) * site.batteries[0].discharge_efficiency
    assert 36.0 < given_kwh <= 40.5
    assert loop.controller.throughput.given_kwh["bess-1"] == pytest.approx(given_kwh, rel=0.03)
    assert {e.low_rule for d in loop.decisions[-5:] for e in (d.verdict.storage["bess-1"],)} == {"warranty throughput of today"}


def test_without_a_budget_nothing_is_counted_and_the_battery_gives_what_is_asked() -> None:
    site = demo_site(1370.0, 5.0)
    loop = Loop(site, "plan")
    for k in range(180):
        loop.cycle(DEMAND, discharging(site, loop) if k == 0 else [])
    assert loop.controller.throughput.given_kwh == {}
    assert loop.plant.batteries[0].power_kw < -290.0


def test_a_restart_forgets_nothing_and_midnight_forgets_all() -> None:
    site = budgeted(40.0)
    loop = Loop(site, "plan")
    for k in range(120):
        loop.cycle(DEMAND, discharging(site, loop) if k == 0 else [])
    before = dict(loop.controller.throughput.given_kwh)
    again = Controller(site, "plan", dict.fromkeys(site.assets, Mode.CONTROL), loop.controller.memory())
    assert again.throughput.given_kwh == before and before["bess-1"] > 10.0
    state = replace(loop.decisions[-1].state, now=datetime(2024, 8, 21, 5, 0, tzinfo=UTC))  # midnight in Chicago
    assert again.throughput.update(state).get("bess-1", 0.0) == 0.0


def test_what_a_ups_gives_in_an_outage_counts_against_no_budget() -> None:
    site = budgeted(40.0)
    log, loop = DayThroughput(site), Loop(site, "plan")
    state = loop.cycle(DEMAND).state
    ups = replace(state.upses["ups-1"], battery_kw=-600.0, mode="on_battery")
    for k in range(10):
        log.update(replace(state, now=state.now + timedelta(seconds=60 * k), upses={"ups-1": ups}))
    assert log.given_kwh.get("ups-1", 0.0) == 0.0
    normal = replace(ups, mode="normal")
    for k in range(10, 13):
        log.update(replace(state, now=state.now + timedelta(seconds=60 * k), upses={"ups-1": normal}))
    assert log.given_kwh["ups-1"] == pytest.approx(30.0)


def test_the_envelope_tapers_to_what_the_day_leaves() -> None:
    site = budgeted(100.0)
    battery = BatteryState(0.0, 0.5, 500.0, 500.0, True)
    low = [battery_envelope(site.batteries[0], battery, 90.0, None, given).low_kw for given in (0.0, 95.0, 100.0, 120.0)]
    assert low == [-500.0, pytest.approx(-200.0), 0.0, 0.0]
    ups = UpsState(20.0, 700.0, 0.0, 1.0, "normal", True)
    assert ups_envelope(site.upses[0], ups, 300.0, 90.0, 900.0, 99.0).low_rule == "cell throughput of today"


def test_the_plan_spends_only_what_the_controller_says_is_left_of_today() -> None:
    site = budgeted(300.0)
    dear = np.where(np.arange(plan_inputs(site).horizon.n) < 20, 2.0, 0.05)
    inputs = replace(plan_inputs(site), import_price_per_kwh=dear, store_energy_kwh={"bess-1": 900.0, "ups-1": 380.0})
    planner = Planner(site)
    gives = {}
    for given in (0.0, 250.0):
        told = replace(inputs, given_kwh={"bess-1": given, "ups-1": 300.0})
        plan = planner.plan(told)
        assert verify(site, told, plan) == []
        gives[given] = -min(0.0, float(np.minimum(plan.power_kw["bess-1"][:30], 0.0) @ np.array(plan.duration_h[:30])))
    assert gives[0.0] > 250.0 and gives[250.0] <= 50.01
    fresh = planner.plan(replace(inputs, given_kwh={"bess-1": 0.0}))
    later = replace(inputs, given_kwh={"bess-1": 290.0, "ups-1": 0.0})
    assert any("gives more in a day than it may" in f for f in verify(site, later, fresh))


def test_the_count_travels_to_the_planner() -> None:
    site = budgeted(40.0)
    loop = Loop(site, "plan")
    for k in range(60):
        decision = loop.cycle(DEMAND, discharging(site, loop) if k == 0 else [])
    state = plan_state(site, decision, None)
    assert state.given_kwh["bess-1"] > 5.0
    assert PlanState.decode(state.encode()) == state
