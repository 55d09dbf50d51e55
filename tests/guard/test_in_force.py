"""A cluster that cannot be heard may still be at the widest cap it showed, until its lease has run out."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from ems.guard.ceilings import InForce
from ems.site.leases import ACTUATION_S
from ems.state.estimate import SiteState
from tests.control.loop import START, Loop, demo_site, even

SITE = demo_site(950.0)
LEASE_S = SITE.links["hall-a"].lease_s
EMPTY = {"bess-1": {"initial_soc": 0.06}, "ups-1": {"initial_soc": 0.66}}


@pytest.fixture(scope="module")
def state() -> SiteState:
    return Loop(SITE, "capped").cycle({"hall-a": even(300.0), "hall-b": even(100.0)}).state


def showing(state: SiteState, at_s: float, cap_kw: float | None) -> SiteState:
    """The state at a second, hall-a showing a cap, or silent."""
    clusters = {**state.clusters, "hall-a": replace(state.clusters["hall-a"], cap_kw=cap_kw)}
    return replace(state, now=START + timedelta(seconds=at_s), clusters=clusters)


def test_what_a_silent_cluster_showed_or_was_told_counts_until_its_lease_has_run_out(state: SiteState):
    caps = InForce(SITE)
    assert caps.update(showing(state, 0.0, None), {"hall-a": 300.0}) == {"hall-a": 300.0}  # never heard: nothing to remember
    assert caps.update(showing(state, 1.0, 500.0), {"hall-a": 450.0}) == {"hall-a": 450.0}  # heard: it shows itself what it has
    assert caps.update(showing(state, 2.0, None), {"hall-a": 400.0}) == {"hall-a": 500.0}
    assert caps.update(showing(state, 3.0, None), {"hall-a": 520.0}) == {"hall-a": 520.0}
    assert caps.update(showing(state, 4.0, None), {"hall-a": 350.0, "hall-b": 200.0})["hall-a"] == 520.0
    assert caps.update(showing(state, 1.0 + LEASE_S + ACTUATION_S, None), {"hall-a": 350.0}) == {"hall-a": 520.0}
    assert caps.update(showing(state, 2.0 + LEASE_S + ACTUATION_S, None), {"hall-a": 350.0}) == {"hall-a": 350.0}
    assert caps.update(showing(state, 3.0, None), {}) == {}


def test_golden_34_a_hall_that_falls_silent_above_its_contract_cap_keeps_the_other_one_narrow():
    """Campaign, a day of seed 3: hall-a silent at 492 kW, storage empty; hall-b was given its contract cap as the meter was lost."""
    loop = Loop(demo_site(950.0, assets=EMPTY), "capped")
    loop.run(120, lambda k: {"hall-a": even(700.0), "hall-b": even(30.0)})
    contract_kw = {c.id: c.contract_cap_kw for c in loop.site.clusters}
    assert loop.plant.devices["hall-a"].power_kw > contract_kw["hall-a"] + 20.0
    until_s = loop.now.timestamp() + 30.0
    for device in ("hall-a", "poc"):
        loop.plant.devices[device].inject("silent", until_s)
    before_s = loop.truth.over_s
    loop.run(30, lambda k: {"hall-a": even(700.0), "hall-b": even(400.0)})
    assert loop.plant.devices["hall-b"].power_kw < contract_kw["hall-b"] - 10.0
    assert loop.truth.over_s == before_s == 0.0
