"""Export over its limit: never by a store that serves a load which is not at the meter, and never unsaid."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ems.guard.export import ExportWatch
from ems.plan.plan import encode_plan
from tests.control.loop import Loop, demo_site, even
from tests.control.plans import flat_plan

BUSY = {"hall-a": even(500.0), "hall-b": even(250.0)}


def discharging(seconds: int) -> Loop:
    """The demo site with a large battery that is wanted as empty as it may be; the UPS carries hall A alone and loses its input."""
    assets = {"bess-1": {"power_kw": 1500.0, "energy_kwh": 3000.0}, "ups-1": {"carries": ["hall-a"]}}
    loop = Loop(demo_site(assets=assets, feeders=[]), "plan")
    for k in range(20 + seconds):
        plan = encode_plan(flat_plan(loop.site, loop.now, -1500.0))
        loop.cycle(BUSY, [("plan", plan)] if k % 20 == 0 else [])
        if k == 19:
            loop.plant.devices["ups-1"].inject("input_lost", loop.now.timestamp() + 30.0)
    return loop


def test_no_store_serves_a_load_that_a_ups_carries_from_its_own_battery():
    loop = discharging(45)
    before, lost, after = (loop.decisions[k] for k in (18, 20, 63))
    assert before.verdict.unfed_kw == after.verdict.unfed_kw == 0.0 and lost.verdict.unfed_kw == pytest.approx(770.0, rel=0.02)
    assert before.verdict.storage["bess-1"].low_kw < -1100.0 and after.verdict.storage["bess-1"].low_kw < -700.0
    assert lost.verdict.storage["bess-1"].low_kw > -500.0 and lost.verdict.storage["bess-1"].low_rule == "export limit"
    assert min(loop.truth.poc_kw[25:]) >= 0.0  # by then the battery has let go by its ramp
    assert not any(a.startswith("export") for d in loop.decisions for a in d.alarms)  # it could, and did


def test_the_load_of_a_ups_on_battery_is_taken_off_this_cycles_load_too():
    verdict = discharging(0).decisions[-1].verdict
    it_kw, room = 600.0, verdict.room
    lost = replace(verdict, unfed_kw=300.0, load_valley_kw=1e6)
    kept = replace(lost, unfed_kw=0.0)
    assert room.it_kw(0.0) > it_kw
    assert lost.lowest_storage_kw(it_kw) == pytest.approx(kept.lowest_storage_kw(it_kw) + 0.98 * 300.0)


def test_export_over_its_limit_that_no_store_can_take_is_said_and_what_can_be_taken_is_not():
    loop = discharging(0)
    decision = loop.decisions[-1]
    high_kw = decision.verdict.storage["bess-1"].high_kw
    exporting = [replace(decision.state, poc_kw=-300.0, now=d.state.now) for d in loop.decisions]
    full, empty = {"bess-1": high_kw}, {"bess-1": high_kw - 301.0}
    watch = ExportWatch(loop.site)
    assert [watch.said(s, decision.verdict, empty) for s in exporting[:5]] == [[]] * 5
    watch = ExportWatch(loop.site)
    said = [watch.said(s, decision.verdict, full) for s in exporting[:3]]
    assert said[:2] == [[], []] and said[2][0].startswith("export: 300 kW over the export limit of 0 kW")
    watch = ExportWatch(loop.site)
    silent = [replace(s, connection=replace(s.connection, is_fresh=False)) for s in exporting]
    assert not any(watch.said(s, decision.verdict, full) for s in silent)  # a sum of parts is no measured export
