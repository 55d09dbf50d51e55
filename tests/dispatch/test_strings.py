"""Storage strings: planned as a few classes, split again by the arbiter, in closed loop with the plant."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from ems.assets.battery.envelope import battery_envelope
from ems.assets.battery.model import BatteryState
from ems.assets.envelope import Envelope
from ems.control.plan_state import plan_state
from ems.dispatch.advice import Wish
from ems.dispatch.strings import balance_strings
from ems.dispatch.water_fill import StringRoom, water_fill
from ems.errors import ConfigError
from ems.plan.inputs import stores_of
from ems.plan.loop import PlanLoop
from ems.plan.plan import encode_plan
from ems.plan.verify import verify
from ems.site.load import load_site
from ems.site.model import Site
from ems.site.resolved import site_from_json, site_to_json
from ems.site.storage_classes import planned_site, storage_classes
from tests.control.loop import Loop, even
from tests.control.plans import flat_plan

DEMO = Path(__file__).parents[2] / "config/sites/demo-2mw.yaml"
STRINGS = {"strings": 8, "power_kw": 62.5, "energy_kwh": 125, "ramp_kw_per_s": 31.25, "link": {"port": 15100}}


def string_site(**battery: object) -> Site:
    """The demo site with its battery as eight strings."""
    return load_site(DEMO, {"assets": {"bess-1": {**STRINGS, **battery}}})


def test_an_entry_of_strings_becomes_that_many_batteries_with_devices_of_their_own() -> None:
    site = string_site()
    assert [b.id for b in site.batteries] == [f"bess-1-00{n}" for n in range(1, 9)]
    assert [b.link.port for b in site.batteries if b.link] == list(range(15100, 15108))
    assert {b.id for b in site.batteries} < set(site.feeders[1].assets)
    assert site_from_json(site_to_json(site)) == site


def test_strings_are_planned_as_the_battery_they_make_up() -> None:
    whole, site = load_site(DEMO), planned_site(string_site())
    assert list(site.assets) == list(whole.assets) and site.feeders == whole.feeders
    assert site.batteries[0] == replace(whole.batteries[0], link=None, string_of="bess-1")


def test_a_site_without_strings_is_planned_as_it_stands() -> None:
    site = load_site(DEMO)
    assert planned_site(site) is site and storage_classes(site) == {}


def test_hundreds_of_strings_of_many_kinds_become_at_most_sixteen_classes_that_never_promise_more_than_their_worst() -> None:
    rng = random.Random(5)
    base = string_site()
    first = base.batteries[0]
    strings = {
        f"s-{n:03d}": replace(
            first, id=f"s-{n:03d}", string_of=f"e-{n // 10}", chemistry=rng.choice(("lfp", "nmc")), charge_efficiency=rng.uniform(0.9, 0.97)
        )
        for n in range(400)
    }
    site = replace(base, assets={k: v for k, v in base.assets.items() if v not in base.batteries} | strings, feeders=())
    classes = storage_classes(site)
    assert len(classes) <= 16 and sum(len(g) for g in classes.values()) == 400
    for battery in planned_site(site).batteries:
        group = classes[battery.id]
        assert len({s.chemistry for s in group}) == 1
        assert battery.charge_efficiency == min(s.charge_efficiency for s in group)
        assert battery.energy_kwh == pytest.approx(sum(s.energy_kwh for s in group))


def test_strings_on_different_feeders_are_never_planned_as_one() -> None:
    site = string_site()
    ids = [b.id for b in site.batteries]
    halls, utility = site.feeders
    rest = tuple(a for a in utility.assets if a not in ids[:3])
    site = replace(site, feeders=(replace(halls, assets=(*halls.assets, *ids[:3])), replace(utility, assets=rest)))
    assert sorted(len(g) for g in storage_classes(site).values()) == [3, 5]


def test_the_plan_of_strings_is_the_plan_of_one_battery_and_stands_its_check() -> None:
    site, whole = string_site(), load_site(DEMO)
    loop = Loop(site, "plan")
    for _ in range(5):
        loop.cycle({"hall-a": even(400), "hall-b": even(200)})
    state = plan_state(site, loop.decisions[-1], None)
    planner, single = PlanLoop(site), PlanLoop(whole)
    plan = planner.plan(loop.now, state)
    as_one = replace(
        state,
        energy_kwh={
            **{k: v for k, v in state.energy_kwh.items() if k == "ups-1"},
            "bess-1": sum(v for k, v in state.energy_kwh.items() if k != "ups-1"),
        },
    )
    assert plan.objective == pytest.approx(single.plan(loop.now, as_one).objective, rel=1e-6)
    assert planner.inputs is not None and verify(planned_site(site), planner.inputs, plan) == []


def test_a_class_with_silent_strings_is_planned_with_what_is_left() -> None:
    site = string_site()
    loop = Loop(site, "plan")
    loop.cycle({"hall-a": even(400), "hall-b": even(200)})
    state = plan_state(site, loop.decisions[-1], None)
    quiet = {k: v for k, v in state.energy_kwh.items() if k not in ("bess-1-001", "bess-1-002")}
    planner = PlanLoop(site)
    plan = planner.plan(loop.now, replace(state, energy_kwh=quiet))
    assert max(abs(kw) for kw in plan.power_kw["bess-1"]) <= 500 * 6 / 8 + 1e-6
    assert max(plan.energy_kwh["bess-1"]) <= 0.95 * 1000 * 6 / 8 + 1e-6


def test_strings_in_closed_loop_follow_the_plan_of_their_class_and_meet_in_charge() -> None:
    site = string_site()
    loop = Loop(site, "plan", temp_c=20.0)
    rng = random.Random(2)
    for device in loop.plant.batteries:
        device.energy_kwh = device.rating.energy_kwh * rng.uniform(0.3, 0.8)
    spread = max(d.soc for d in loop.plant.batteries) - min(d.soc for d in loop.plant.batteries)
    planned = planned_site(site)
    plan = encode_plan(flat_plan(planned, loop.now, storage_kw=-160.0))
    for k in range(900):
        loop.cycle({"hall-a": even(300), "hall-b": even(150)}, [("plan", plan)] if k == 0 else [])
    powers = [d.power_kw for d in loop.plant.batteries]
    assert sum(powers) == pytest.approx(-160.0, abs=8.0)
    assert max(powers) <= 0.0 and min(powers) >= -62.5
    assert (
        max(d.soc for d in loop.plant.batteries) - min(d.soc for d in loop.plant.batteries) < 0.85 * spread
    )  # a quarter of an hour moves 4 % of the energy
    assert loop.truth.soc_breach_kwh == 0.0 and loop.truth.over_s == 0.0


def test_a_split_held_for_the_whole_exposure_leaves_every_string_inside_its_window() -> None:
    battery, rng = string_site().batteries[0], random.Random(9)
    for _ in range(300):
        socs = [rng.uniform(0.0, 1.0) for _ in range(20)]
        states = [BatteryState(0.0, soc, rng.uniform(0, 62.5), rng.uniform(0, 62.5), is_fresh=rng.random() > 0.1) for soc in socs]
        boxes = [battery_envelope(battery, s, 77.0) for s in states]
        rooms = [StringRoom(e.low_kw, e.high_kw, battery.energy_kwh, s.soc) for e, s in zip(boxes, states, strict=True)]
        for state, kw in zip(states, water_fill(rng.uniform(-1500, 1500), rooms), strict=True):
            flow = kw * battery.charge_efficiency if kw > 0 else kw / battery.discharge_efficiency
            after = state.soc + flow * 77.0 / 3600 / battery.energy_kwh
            assert min(battery.soc_min, state.soc) - 1e-9 <= after <= max(battery.soc_max, state.soc) + 1e-9
            assert -state.max_discharge_kw <= kw <= state.max_charge_kw


def test_a_string_somebody_ordered_about_keeps_its_order() -> None:
    site = string_site()
    loop = Loop(site, "plan")
    decision = loop.cycle({"hall-a": even(300), "hall-b": even(150)})
    wishes = {b.id: Wish(-20.0, "plan") for b in site.batteries} | {"bess-1-003": Wish(15.0, "a person", is_ordered=True)}
    boxes = {b.id: Envelope(b.id, -62.5, 62.5, "rating", "rating") for b in site.batteries}
    out = balance_strings(storage_classes(site), decision.state, boxes, wishes)
    assert out["bess-1-003"].kw == 15.0 and sum(w.kw for w in out.values()) == pytest.approx(-140 + 15)


def test_strings_that_share_a_port_or_an_id_with_somebody_are_refused() -> None:
    with pytest.raises(ConfigError, match="an address of its own"):
        string_site(link={"port": 15019})
    with pytest.raises(ConfigError, match="other than those of the strings of bess-1"):
        load_site(DEMO, {"assets": {"bess-1": STRINGS, "bess-1-002": {"kind": "fixed_load", "power_kw": 1}}})


def test_every_store_of_the_planned_site_has_a_battery_behind_it() -> None:
    site = string_site()
    assert [s.id for s in stores_of(planned_site(site))] == ["bess-1", "ups-1"]
