"""Corners of the guard that a busy, healthy site seldom meets: nothing runs, a plant has lost capacity, memory of devices that are gone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ems.control.controller import Controller
from ems.guard.ceilings import RecentCaps
from ems.guard.degraded import Degraded, Facts
from ems.guard.guard import Observed, Verdict, cooling_fraction, guard_site, loss_fraction, share_caps
from ems.guard.plausible import Plausible
from ems.guard.response import Response
from ems.guard.trust import Proof, TrustBook
from ems.messages import Mode
from ems.replay.field import SimulatedField
from ems.site.load import load_site
from ems.site.model import Site
from ems.state.estimate import SiteState, estimate_state
from simulators.plant import Demand, Plant
from tests.control.loop import ROOT, Loop, demo_site, even

NOW = datetime(2024, 8, 19, 5, tzinfo=UTC)


def chilled() -> tuple[Site, SiteState, Verdict]:
    """A site with a chilled-water plant at half load: the state it is in, and the guard's verdict."""
    site = load_site(ROOT / "config/sites/edge-5mw.yaml")
    plant = Plant(site, 1)
    work = {c.id: Demand(0.3 * c.peak_kw, 0.1 * c.peak_kw, 0.0) for c in site.clusters}
    for k in range(240):
        plant.step(5.0, NOW + timedelta(seconds=5 * k - 1200), work, 30.0)
    field = SimulatedField(plant)
    decision = Controller(site, "capped", dict.fromkeys(site.assets, Mode.CONTROL)).decide(field.image(NOW), [], NOW)
    return site, decision.state, decision.verdict


def seen_as(state: SiteState, **changes: float) -> SiteState:
    """The state with its first plant seen differently."""
    name = next(iter(state.coolings))
    return replace(state, coolings={**state.coolings, name: replace(state.coolings[name], **changes)})  # type: ignore[arg-type]


def test_a_plant_that_removes_less_than_the_halls_give_off_or_supplies_too_warm_has_lost_cooling():
    site, state, _ = chilled()
    plant = site.coolings[0].plant
    assert plant is not None
    heat_kw = sum(state.clusters[c].power_kw for c in site.coolings[0].cools)
    for changes, said in (
        ({"able_kw": 0.8 * heat_kw}, "removes"),
        ({"able_kw": 2.0 * heat_kw, "supply_temp_c": plant.supply_temp_c + 3.0}, "supplies"),
        ({"able_kw": 2.0 * heat_kw, "supply_temp_c": plant.supply_temp_c}, ""),
    ):
        standing = [s for s in Degraded().update(site, Facts(seen_as(state, **changes))) if s.mode.name == "cooling lost"]
        assert [said in s.why for s in standing] == ([True] if said else [])


def test_a_plant_that_can_remove_little_bounds_the_halls_it_cools():
    site, _, verdict = chilled()
    name, cools = site.coolings[0].id, site.coolings[0].cools
    fresh = {c.id: c.rating_kw for c in site.clusters}
    free = share_caps(site, replace(verdict, heat_allowed_kw={}), 1e9, fresh, fresh)
    tight_kw = 0.7 * sum(free[c] for c in cools)
    bound = share_caps(site, replace(verdict, heat_allowed_kw={name: tight_kw}), 1e9, fresh, fresh)
    assert sum(bound[c] for c in cools) == pytest.approx(tight_kw)


def test_what_a_hall_draws_above_its_cap_the_other_hall_does_not_get():
    loop = Loop(demo_site(1250.0))
    loop.run(30, lambda k: {"hall-a": even(500.0), "hall-b": even(300.0)})
    verdict = replace(loop.decisions[-1].verdict, ceilings_kw={"hall-a": 300.0, "hall-b": 600.0})
    fresh = {"hall-a": 300.0, "hall-b": 600.0}
    obeying = share_caps(loop.site, replace(verdict, overdrawn_kw={}), 900.0, fresh, fresh)
    drawn = share_caps(loop.site, replace(verdict, overdrawn_kw={"hall-a": 480.0}), 900.0, fresh, fresh)
    assert obeying["hall-b"] > 500.0 and drawn["hall-b"] == pytest.approx(900.0 - 480.0)
    assert drawn["hall-a"] == obeying["hall-a"], "it is still told to obey"


@pytest.mark.parametrize(("above_kw", "is_counted"), [(4.0, False), (8.0, True)])
def test_a_hall_a_little_above_its_cap_counts_with_its_power_and_not_with_what_it_was_told(above_kw: float, is_counted: bool):
    """Half a percent of 1,080 kW is 5.4 kW; a cap that is only just told may still be on its way."""
    loop = Loop(demo_site(1250.0))
    loop.run(30, lambda k: {"hall-a": even(500.0), "hall-b": even(300.0)})
    state, observed = loop.decisions[-1].state, observed_of(loop.site)
    cap_kw = loop.decisions[-1].verdict.ceilings_kw["hall-a"]
    hall = replace(state.clusters["hall-a"], power_kw=cap_kw + above_kw)
    state = replace(state, clusters={**state.clusters, "hall-a": hall})
    assert not guard_site(loop.site, state, [], observed).overdrawn_kw
    verdict = guard_site(loop.site, state, [], replace(observed, recent_caps_kw={"hall-a": cap_kw, "hall-b": 300.0}))
    assert verdict.ceilings_kw["hall-a"] == pytest.approx(cap_kw + above_kw if is_counted else cap_kw)
    assert verdict.confirmed_it_kw == pytest.approx(sum(verdict.ceilings_kw.values()))
    assert ("hall-a" in verdict.overdrawn_kw) == is_counted


def test_the_widest_cap_of_the_last_seconds_is_known_once_it_was_told_for_so_long():
    recent = RecentCaps(demo_site())
    seen = [recent.update(NOW + timedelta(seconds=k), {"hall-a": 500.0 - 10.0 * k}) for k in range(6)]
    assert seen[:2] == [{}, {}] and seen[2:] == [{"hall-a": 500.0 - 10.0 * (k - 2)} for k in range(2, 6)]
    assert recent.update(NOW + timedelta(seconds=6), {}) == {}, "nobody tells it any more"
    assert recent.update(NOW + timedelta(seconds=7), {"hall-a": 100.0}) == {}


def test_with_nothing_running_the_worst_losses_and_all_cooling_together_count():
    loop = Loop(demo_site())
    state = loop.cycle({"hall-a": even(0.0), "hall-b": even(0.0)}).state
    dark = replace(state, clusters={k: replace(c, power_kw=0.0) for k, c in state.clusters.items()})
    assert cooling_fraction(loop.site, dark) == sum(c.fraction(dark.outdoor_temp_c) for c in loop.site.coolings)
    assert loss_fraction(loop.site, dark) == loop.site.upses[0].loss_fraction


def test_a_meter_without_counters_is_believed_and_memory_of_devices_that_are_gone_is_dropped():
    loop = Loop(demo_site())
    loop.run(5, lambda k: {"hall-a": even(300.0), "hall-b": even(100.0)})
    image = loop.images[-1]
    bare = replace(image, readings={**image.readings, "poc": {"power_kw": image.readings["poc"]["power_kw"]}})
    checked = Plausible(loop.site).checked(bare)
    assert checked.value("poc", "power_kw", 5.0) == image.value("poc", "power_kw", 5.0) and "poc" not in checked.problems

    plausible = Plausible(loop.site)
    plausible.restore({"bess-1": 0.4, "gone-1": 0.5})
    assert plausible.encode() == {"bess-1": 0.4}
    response, book = Response(loop.site), TrustBook(loop.site)
    response.restore({"gone-1": {}})
    assert response.encode() == {}
    book.restore({"gone-1": {"proof": None, "quarantine": "", "strikes": []}})
    book.release("gone-1")
    book.prove("bess-1", Proof("Ada", NOW.isoformat(), True))
    assert list(book.encode()) == ["bess-1"]


def test_a_store_that_did_not_follow_stays_without_power_over_a_restart():
    loop = Loop(demo_site(1150.0))
    loop.run(60, lambda k: {"hall-a": even(500.0), "hall-b": even(300.0)})
    loop.plant.devices["bess-1"].inject("ignores", loop.now.timestamp() + 60.0)
    loop.run(40, lambda k: {"hall-a": even(900.0 if k % 8 < 4 else 200.0), "hall-b": even(300.0)})
    kept = loop.controller.response.encode()
    again = Response(loop.site)
    again.restore(kept)
    assert again.suspects(loop.now) == loop.controller.response.suspects(loop.now)


def test_a_site_whose_plant_says_nothing_is_estimated_without_it():
    site, _, _ = chilled()
    plant = Plant(site, 1)
    field = SimulatedField(plant)
    image = field.image(NOW)
    silent = replace(image, readings={k: v for k, v in image.readings.items() if k != site.coolings[0].id})
    state = estimate_state(site, silent, None)
    assert [s for s in Degraded().update(site, Facts(state)) if s.mode.name == "cooling lost"] == []


def test_a_plant_whose_supply_has_run_warm_counts_at_its_full_heat_since_its_chillers_come_back_at_any_moment():
    site, state, _ = chilled()
    plant = site.coolings[0].plant
    assert plant is not None
    warm = guard_site(site, seen_as(state, supply_temp_c=plant.supply_temp_c + 3.0), [], observed_of(site))
    calm = guard_site(site, seen_as(state, supply_temp_c=plant.supply_temp_c), [], observed_of(site))
    assert warm.room.cooling_kw > calm.room.cooling_kw + 50.0


def observed_of(site: Site) -> Observed:
    """Nothing known beyond the present state."""
    critical = {u.id: u.rating_kw for u in site.upses}
    calm = {u.id: 3600.0 for u in site.upses}
    return Observed(critical, calm, 1e6, 1e9, "", 1e9, {}, {}, {})
