"""Generators and sun in closed loop with the simulated plant: requests with reasons, hours by reason, trips, faults, hostile plans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ems.control.controller import Controller
from ems.dispatch.advice import Wish
from ems.dispatch.generation import generation_setpoints
from ems.dispatch.setpoint import Setpoint
from ems.messages import Mode, Order, OrderKind
from ems.plan.plan import encode_plan
from ems.site.model import Site
from tests.assets.generator_site import DIESEL, GAS, PV, SMR, site_with
from tests.control.loop import START, Loop, even
from tests.control.plans import flat_plan

SURE = {"start_failure": 0.0}
DEMAND = {"hall-a": even(430.0), "hall-b": even(240.0)}


def site(limit_kw: float = 1370.0, **assets: dict[str, Any]) -> Site:
    made = site_with(limit_kw, 12.0, **assets)
    return replace(made, control=replace(made.control, cycle_s=5.0, stale_after_s=15.0))


def plan_for(loop: Loop, powers: dict[str, float], on: dict[str, float] | None = None) -> list[tuple[str, dict[str, Any]]]:
    """A plan that asks for even powers, from now on."""
    plan = flat_plan(loop.site, loop.now)
    n = len(plan.starts)
    rows = {**plan.power_kw, **{k: (kw,) * n for k, kw in powers.items()}}
    plan = replace(
        plan, power_kw=rows, on={k: (v,) * n for k, v in (on or {}).items()}, curtailed_kw={"pv-1": (0.0,) * n} if "pv-1" in powers else {}
    )
    return [("plan", encode_plan(plan))]


def asked(setpoints: Sequence[Setpoint], asset: str) -> dict[str, float]:
    return {s.command: s.power_kw for s in setpoints if s.asset == asset}


def test_a_planned_gas_engine_is_requested_with_the_plan_as_its_reason_and_runs() -> None:
    loop = Loop(site(gas_1={**GAS, **SURE}))
    loop.cycle(DEMAND, plan_for(loop, {"gas-1": -300.0}, {"gas-1": 1.0}))
    decision = loop.decisions[-1]
    assert asked(decision.written, "gas-1") == {"run_request": 1.0, "power_setpoint_kw": -300.0}
    assert all("plan" in s.reason for s in decision.written if s.asset == "gas-1")
    loop.run(70, lambda k: DEMAND)
    assert loop.plant.devices["gas-1"].power_kw == pytest.approx(-300.0)
    year = loop.controller.run_log.hours["gas-1"]["2024"]
    assert set(year) == {"economic"} and year["economic"] == pytest.approx(350 / 3600, abs=0.02)


def test_a_hostile_plan_never_starts_an_emergency_generator() -> None:
    loop = Loop(site(diesel_1={**DIESEL, **SURE}))
    loop.run(80, lambda k: DEMAND, lambda k: plan_for(loop, {"diesel-1": -800.0}, {"diesel-1": 1.0}) if k % 20 == 0 else ())
    assert not loop.controller.run_log.hours
    for decision in loop.decisions:
        assert asked(decision.setpoints, "diesel-1") == {"run_request": 0.0, "power_setpoint_kw": 0.0}
    assert loop.decisions[-1].verdict.generation["diesel-1"].low_rule == "emergency class: never for money"


def test_an_order_that_names_it_starts_the_diesel_and_its_hours_are_logged_as_such() -> None:
    loop = Loop(site(diesel_1={**DIESEL, **SURE, "ordered_by": ["backup_order"]}), policy="rules")
    start = START + timedelta(seconds=60)
    event = {
        "id": "o-1", "kind": "import_limit", "kw": 900.0, "program": "backup_order",
        "start": start.isoformat(), "end": (start + timedelta(seconds=240)).isoformat(), "notice_at": START.isoformat(),
    }  # fmt: skip
    loop.run(110, lambda k: DEMAND, lambda k: [("event", event)] if k == 0 else ())
    ran = [d for d in loop.decisions if asked(d.setpoints, "diesel-1")["run_request"] == 1.0]
    assert {s.reason for d in ran for s in d.setpoints if s.asset == "diesel-1"} == {
        "order o-1: what the import limit is short of, at least its minimum load"
    }
    assert all(start <= d.state.now < start + timedelta(seconds=240) for d in ran) and ran
    assert set(loop.controller.run_log.hours["diesel-1"]["2024"]) == {"order"}


def test_a_named_person_may_run_it_for_a_test_and_it_stops_when_released() -> None:
    loop = Loop(site(diesel_1={**DIESEL, **SURE}), policy="rules")
    until = START + timedelta(minutes=5)
    order = Order(OrderKind.OVERRIDE, "diesel-1", "Ada", "monthly test", START, kw=300.0, until=until)
    loop.run(100, lambda k: DEMAND, lambda k: [("order", order.encode())] if k == 0 else ())
    ran = [d for d in loop.decisions if asked(d.setpoints, "diesel-1")["run_request"] == 1.0]
    assert asked(ran[0].setpoints, "diesel-1")["power_setpoint_kw"] == -300.0
    assert all("Ada" in s.reason for s in ran[0].setpoints if s.asset == "diesel-1")
    assert ran[-1].state.now < until and loop.plant.devices["diesel-1"].power_kw == 0.0


def test_while_its_transfer_control_carries_load_nothing_is_asked_of_it_not_even_by_a_stop() -> None:
    loop = Loop(site(diesel_1={**DIESEL, **SURE}), policy="rules")
    diesel = next(d for d in loop.plant.generators if d.id == "diesel-1")
    diesel.transfer(400.0)
    stop = Order(OrderKind.STOP, "diesel-1", "Ada", "try", START).encode()
    loop.run(30, lambda k: DEMAND, lambda k: [("order", stop)] if k == 20 else ())
    assert diesel.generation_kw == 400.0 and loop.field.refused == 0
    later = [d for d in loop.decisions if d.state.generators["diesel-1"].carries_load]
    assert later and not any(asked(d.setpoints, "diesel-1") for d in later)
    assert set(loop.controller.run_log.hours["diesel-1"]["2024"]) == {"mains failure"}


def test_a_start_that_fails_is_survived_and_the_machine_left_alone_while_locked_out() -> None:
    loop = Loop(site(gas_1={**GAS, "start_failure": 0.999}))
    loop.run(80, lambda k: DEMAND, lambda k: plan_for(loop, {"gas-1": -300.0}, {"gas-1": 1.0}) if k % 20 == 0 else ())
    assert any(d.state.generators["gas-1"].mode == "fault" for d in loop.decisions)
    last = loop.decisions[-1]
    assert last.verdict.generation["gas-1"].low_rule == "fault" and asked(last.setpoints, "gas-1")["run_request"] == 0.0
    assert last.runs["gas-1"].blocked_h > 3.0 and loop.truth.over_s == 0.0


@pytest.mark.parametrize("failing", ["smr-1", "gas-1"])
def test_a_trip_of_any_one_machine_does_not_break_the_import_limit(failing: str) -> None:
    loop = Loop(site(900.0, gas_1={**GAS, **SURE, "power_kw": 300, "is_on_at_start": True}, smr_1=SMR))
    news = lambda k: plan_for(loop, {"gas-1": -300.0, "smr-1": -300.0}, {"gas-1": 1.0}) if k % 20 == 0 else ()  # noqa: E731
    loop.run(60, lambda k: DEMAND, news)
    before_kw = loop.decisions[-1].state.it_kw
    loop.plant.devices[failing].inject("trip", loop.now.timestamp() + 3600)
    loop.run(40, lambda k: DEMAND, news)
    assert loop.truth.over_s == 0.0
    assert loop.decisions[-1].verdict.generation[failing].low_rule in ("fault", "device not trusted")
    assert loop.decisions[-1].state.it_kw < before_kw  # the next trip must be harmless too


def test_two_machines_told_to_stop_at_once_let_go_only_after_the_caps_have_narrowed() -> None:
    loop = Loop(
        site(
            950.0,
            gas_1={**GAS, **SURE, "power_kw": 300, "is_on_at_start": True},
            gas_2={**GAS, **SURE, "power_kw": 300, "is_on_at_start": True},
        )
    )
    powers, on = {"gas-1": -300.0, "gas-2": -300.0}, {"gas-1": 1.0, "gas-2": 1.0}
    loop.run(420, lambda k: DEMAND, lambda k: plan_for(loop, powers, on) if k % 20 == 0 else ())
    off = {"gas-1": 0.0, "gas-2": 0.0}
    loop.run(40, lambda k: DEMAND, lambda k: plan_for(loop, {k: -0.0 for k in off}, off) if k % 20 == 0 else ())
    assert loop.truth.over_s == 0.0
    assert loop.plant.devices["gas-1"].power_kw == loop.plant.devices["gas-2"].power_kw == 0.0
    assert any("not before the caps have narrowed" in s.reason for d in loop.decisions for s in d.setpoints)


def test_sun_beyond_the_load_is_curtailed_before_it_is_exported() -> None:
    loop = Loop(site(pv_1={**PV, "power_kw": 3000, "ramp_kw_per_s": 600}), policy="rules")
    loop.plant.resources["pv-1"].at = lambda at_s: 0.6  # type: ignore[method-assign]
    loop.run(10, lambda k: DEMAND)
    loop.truth.export_s = 0.0
    loop.run(60, lambda k: DEMAND)
    assert loop.truth.export_s == 0.0
    pv = loop.plant.devices["pv-1"]
    assert 400.0 < -pv.power_kw < 1400.0
    assert any("exported" in s.reason for s in loop.decisions[-1].setpoints if s.asset == "pv-1")


def test_a_silent_generator_counts_as_giving_nothing_and_is_not_asked_for_anything() -> None:
    loop = Loop(site(gas_1={**GAS, **SURE}), policy="rules")
    loop.plant.devices["gas-1"].inject("silent", START.timestamp() + 1e5)
    loop.run(10, lambda k: DEMAND)
    last = loop.decisions[-1]
    assert any("counted as giving nothing" in a for a in last.alarms) and not asked(last.setpoints, "gas-1")
    assert last.state.generators["gas-1"].generation_kw == 0.0


def test_hours_used_survive_a_restart_of_the_controller() -> None:
    loop = Loop(site(gas_1={**GAS, **SURE, "permit_h_per_year": 1.0}))
    loop.run(200, lambda k: DEMAND, lambda k: plan_for(loop, {"gas-1": -300.0}, {"gas-1": 1.0}) if k % 20 == 0 else ())
    again = Controller(loop.site, "plan", dict.fromkeys(loop.site.assets, Mode.CONTROL), loop.controller.memory())
    image = loop.field.image(loop.now)
    left_h = again.decide(image, [], loop.now).runs["gas-1"].permit_left_h
    assert left_h == pytest.approx(1.0 - 995 / 3600, abs=0.02)


def test_hours_in_which_nobody_heard_the_machine_are_read_from_its_counter() -> None:
    """Silent for 20 min, and tripped in them: counted as running until the counter tells."""
    loop = Loop(site(gas_1={**GAS, **SURE, "permit_h_per_year": 1.0, "is_on_at_start": True}))
    news = lambda k: plan_for(loop, {"gas-1": -300.0}, {"gas-1": 1.0}) if k % 20 == 0 else ()  # noqa: E731
    loop.run(30, lambda k: DEMAND, news)
    for fault in ("silent", "trip"):
        loop.plant.devices["gas-1"].inject(fault, loop.now.timestamp() + 1200.0)
    loop.run(235, lambda k: DEMAND)
    silent = loop.decisions[-1]
    assert not silent.state.generators["gas-1"].is_fresh
    assert silent.runs["gas-1"].permit_left_h == pytest.approx(1.0 - 265 * 5 / 3600, abs=0.01)
    loop.run(10, lambda k: DEMAND)
    assert loop.decisions[-1].runs["gas-1"].permit_left_h == pytest.approx(1.0 - 30 * 5 / 3600, abs=0.01)


def collapsed(export_limit_kw: float) -> Loop:
    """A reactor of 1,200 kW with its minimum at half; all work is gone after a minute and only idle power is left."""
    made = site(smr_1={**SMR, "power_kw": 1200})
    made = replace(made, point_of_connection=replace(made.point_of_connection, export_limit_kw=export_limit_kw))
    loop = Loop(made, policy="rules")
    loop.run(60, lambda k: DEMAND if k < 12 else {"hall-a": even(0.0), "hall-b": even(0.0)})
    return loop


def test_what_a_reactor_gives_above_a_collapsed_load_is_stored_rather_than_exported_above_the_limit() -> None:
    loop = collapsed(200.0)
    charged = [d for d in loop.decisions if any("more charging to hold the export limit of 200 kW" in s.reason for s in d.setpoints)]
    assert len(charged) > 20
    assert min(loop.truth.poc_kw[20:]) >= -205.0
    assert not any(a.startswith("export") for d in loop.decisions[20:] for a in d.alarms)
    given = [d.state.generators["smr-1"].generation_kw for d in loop.decisions]
    assert given[-1] < given[15] - 30.0  # and it goes down meanwhile


def test_export_that_all_stores_together_cannot_take_is_an_alarm() -> None:
    loop = collapsed(0.0)
    assert all(asked(d.written, "bess-1")["power_setpoint_kw"] == 500.0 for d in loop.decisions[20:])
    assert all(-60.0 < kw < -30.0 for kw in loop.truth.poc_kw[20:])
    assert all(any(a.startswith("export: ") and "could take 0 kw more" in a.lower() for a in d.alarms) for d in loop.decisions[20:])


def test_two_reactors_go_down_as_far_as_the_caps_in_force_leave_room_and_a_stop_waits_for_all_of_it() -> None:
    loop = Loop(site(smr_1=SMR, smr_2=SMR), policy="rules")
    loop.run(2, lambda k: DEMAND)
    state, verdict = loop.decisions[-1].state, loop.decisions[-1].verdict
    spare_kw = 50.0  # of the 150 kW that one of them gives less when the other has tripped
    tight = replace(verdict, storage_now_kw={"bess-1": verdict.room.storage_kw(verdict.confirmed_it_kw) - spare_kw})
    wants = {"smr-1": Wish(150.0, "less"), "smr-2": Wish(150.0, "less")}
    less = list(generation_setpoints(loop.site, state, tight, wants))
    assert asked(less, "smr-1")["power_setpoint_kw"] == pytest.approx(-250.0, abs=3.0)
    stop = list(generation_setpoints(loop.site, state, tight, {**wants, "smr-2": Wish(0.0, "stop")}))
    assert asked(stop, "smr-2")["power_setpoint_kw"] == pytest.approx(-300.0, abs=3.0)
