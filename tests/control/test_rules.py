"""The rules without a plan (L2, and the policy `rules`), in closed loop with the simulated plant."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

from ems.dispatch.rules import FIRST_HOLD
from tests.control.loop import Loop, demo_site, even

SURGE = {"hall-a": even(420.0), "hall-b": even(180.0)}  # above the first hold, below the limit
CALM = {"hall-a": even(80.0), "hall-b": even(30.0)}
LIMIT_KW = 1370.0


def by_day(limit_kw: float = LIMIT_KW) -> Loop:
    """A site under the rules at 08:00 local, when nothing charges."""
    loop = Loop(demo_site(limit_kw), "rules")
    loop.now += timedelta(hours=8)
    return loop


def interval_means(loop: Loop, cycles: int) -> list[float]:
    """Means of the meter over whole 15-minute intervals, kW."""
    kw = [d.state.poc_kw for d in loop.decisions[-cycles:]]
    return [sum(kw[i : i + 900]) / 900 for i in range(0, cycles - cycles % 900, 900)]


def test_the_battery_holds_the_billing_mean_while_it_lasts_and_the_ups_keeps_its_reserve() -> None:
    loop = by_day()
    loop.run(900, lambda k: CALM)
    loop.run(1800, lambda k: SURGE)
    assert max(interval_means(loop, 1800)) < FIRST_HOLD * LIMIT_KW
    assert loop.plant.devices["bess-1"].power_kw < -50.0
    assert all(s.power_kw == 0.0 for d in loop.decisions for s in d.setpoints if s.command == "battery_setpoint_kw")
    assert loop.truth.deferred_kwh < 1.0  # no work is cut for the billing mean


def test_the_energy_left_is_spread_so_that_a_long_surge_never_finds_the_store_empty() -> None:
    loop = by_day()
    loop.plant.devices["bess-1"].energy_kwh = 130.0
    loop.run(3600, lambda k: SURGE)
    means = interval_means(loop, 3600)
    assert means[-1] < loop.decisions[-1].state.load_kw - 10.0, "the store was empty before the surge ended"
    assert all(later >= earlier - 2.0 for earlier, later in pairwise(means))  # the hold gives way, it does not jump


def test_backlog_recovers_below_the_hold_only() -> None:
    loop = by_day()
    loop.run(900, lambda k: {"hall-a": even(900.0), "hall-b": even(500.0)})  # far above the limit: work is deferred
    backlog = loop.truth.deferred_kwh
    assert backlog > 50.0
    hold_kw = max(interval_means(loop, 900)[0], FIRST_HOLD * LIMIT_KW)
    loop.run(1800, lambda k: CALM)
    assert hold_kw - 60.0 < max(interval_means(loop, 1800)) <= hold_kw, "the backlog recovers, up to the hold"
    kw = [d.state.poc_kw for d in loop.decisions[-1620:-900]]
    minutes = [sum(kw[i : i + 60]) / 60 for i in range(0, 720, 60)]
    assert max(minutes) < 1.05 * hold_kw, "what one class leaves no other takes instead"
    assert min(minutes) > 0.85 * hold_kw, "and no minute makes good for the others"


def test_storage_holds_the_mean_evenly_to_the_end_of_the_interval() -> None:
    loop = by_day()
    loop.run(900, lambda k: CALM)
    loop.run(1800, lambda k: SURGE)
    kw = [d.state.batteries["bess-1"].power_kw for d in loop.decisions[-900:]]
    assert max(kw[-60:]) < 0.8 * min(kw[-180:-120]) < 0.0
    assert min(kw[-60:]) > 1.25 * max(kw[-180:-120]), "it is not emptied into the last minute"
