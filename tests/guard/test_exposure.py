"""What is said about dying now comes true when the controller does."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ems.dispatch.orders import Order, OrderKind
from ems.guard.exposure import exposure
from tests.control.loop import START, Loop, demo_site, even, texture

LEASES_S = 80


def with_lease(asset: Any, lease_s: float) -> Any:
    """The asset with another lease; a site file like that would be refused."""
    return replace(asset, link=replace(asset.link, lease_s=lease_s))


@pytest.mark.parametrize("seed", range(4))
def test_a_controller_that_dies_when_it_is_said_to_be_safe_leaves_the_limit_held(seed: int) -> None:
    rng = random.Random(seed)
    loop = Loop(demo_site(1150.0), seed=seed)
    loop.run(240 + 20 * seed, lambda k: texture(rng, 900.0, 400.0))
    found = loop.decisions[-1].exposure
    assert found.is_safe and any(lease.kw < -20.0 for lease in found.leases), "the battery must hold the load for this to say anything"
    loop.truth.over_s, loop.truth.longest_over_s = 0.0, 0.0
    worst_kw = 0.0
    for _ in range(LEASES_S + 60):
        loop._step_plant(texture(rng, 900.0, 400.0))
        worst_kw = max(worst_kw, loop.truth.poc_kw[-1])
    assert loop.truth.over_s == 0.0 and worst_kw <= found.import_kw + 10.0
    assert all(d.lease_remaining_s(loop.now.timestamp()) == 0.0 for d in loop.plant.devices.values())


def test_caps_above_the_contract_that_outlast_the_storage_behind_them_are_not_safe() -> None:
    loop = Loop(demo_site(1150.0))
    rng = random.Random(3)
    loop.run(300, lambda k: texture(rng, 900.0, 400.0))
    storage, caps = {"bess-1": -200.0}, {c.id: c.contract_cap_kw + 60.0 for c in loop.site.clusters}
    verdict = replace(loop.decisions[-1].verdict, confirmed_it_kw=sum(caps.values()))
    assert exposure(loop.site, verdict, storage, caps).is_safe
    hurried = replace(loop.site, assets={a: with_lease(asset, 20.0) if a in storage else asset for a, asset in loop.site.assets.items()})
    found = exposure(hurried, verdict, storage, caps)
    assert not found.is_safe and found.phase == "after the shorter leases"
    assert found.import_kw == pytest.approx(verdict.room.load_kw(verdict.confirmed_it_kw))


def test_leases_name_what_each_asset_holds() -> None:
    loop = Loop(demo_site(1150.0))
    rng = random.Random(3)
    loop.run(300, lambda k: texture(rng, 900.0, 400.0))
    found = {lease.asset: lease for lease in loop.decisions[-1].exposure.leases}
    told = {s.asset: s.power_kw for s in loop.decisions[-1].written}
    assert found["bess-1"].kw == told["bess-1"] and found["bess-1"].lease_s == 75.0


def test_a_controller_that_dies_while_a_battery_charges_leaves_the_limit_held_though_halls_find_work():
    """The battery lets go before any cap does: halls that then draw their contract caps find it at rest."""
    loop = Loop(demo_site(1150.0), temp_c=10.0)
    order = Order(OrderKind.OVERRIDE, "bess-1", "Ada", "to fill it", START, kw=500.0, until=START + timedelta(hours=1))
    loop.run(400, lambda k: {"hall-a": even(150.0), "hall-b": even(80.0)}, lambda k: [("order", order.encode())] if k == 0 else ())
    assert any(lease.asset == "bess-1" and lease.kw > 100.0 for lease in loop.decisions[-1].exposure.leases)
    loop.truth.over_s = 0.0
    for _ in range(LEASES_S + 60):
        loop._step_plant({"hall-a": even(810.0), "hall-b": even(450.0)})
    assert loop.truth.over_s == 0.0
