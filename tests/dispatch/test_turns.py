"""How often storage may be turned round by who advises."""

from __future__ import annotations

import random
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from ems.dispatch.advice import Advice, Wish
from ems.dispatch.turns import PER_HOUR, Turns
from ems.plan.plan import encode_plan
from ems.site.load import load_site
from tests.control.loop import START, Loop, demo_site, texture
from tests.control.plans import flat_plan


def wanted(kw: float, is_ordered: bool = False) -> Advice:
    """Advice for the battery of the demo site."""
    return Advice("plan", {"bess-1": Wish(kw, "why", is_ordered), "ups-1": Wish(0.0, "rest")})


def heard(book: Turns, powers: list[float], every_s: float = 1.0) -> list[float]:
    """What is left of a series of wishes."""
    return [book.settled(START + timedelta(seconds=k * every_s), wanted(kw)).storage["bess-1"].kw for k, kw in enumerate(powers)]


@pytest.mark.parametrize("low", [-400.0, 0.0])
def test_who_flips_every_second_is_heard_six_times_and_again_after_an_hour_of_calm(low: float):
    book, flips = Turns(demo_site()), [400.0 if k % 2 == 0 else low for k in range(600)]
    left = heard(book, [*flips, *[400.0] * 3700])
    assert sum(abs(a - b) > 300.0 for a, b in pairwise(left[:600])) <= PER_HOUR + 1
    assert set(left[20:4190]) == {0.0} and left[-1] == 400.0


def test_who_changes_his_mind_every_quarter_of_an_hour_is_always_heard():
    powers = [400.0 if k % 2 else -400.0 for k in range(200)]
    assert heard(Turns(demo_site()), powers, 900.0) == powers


def test_a_storage_that_trades_may_turn_at_every_settlement_of_five_minutes_and_is_still_not_flipped_every_second():
    site = load_site(Path("config/sites/battery-1mw.yaml"))
    powers = [1000.0 if k % 2 else -1000.0 for k in range(200)]

    def left(every_s: float) -> list[float]:
        book = Turns(site)
        asked = (Advice("plan", {"bess-1": Wish(kw, "why")}) for kw in powers)
        return [book.settled(START + timedelta(seconds=k * every_s), advice).storage["bess-1"].kw for k, advice in enumerate(asked)]

    assert left(300.0) == powers
    assert set(left(1.0)[40:]) == {0.0}


def test_small_moves_are_no_turns():
    powers = [120.0 if k % 2 else -120.0 for k in range(200)]
    assert heard(Turns(demo_site()), powers) == powers


def test_what_a_person_orders_is_heard():
    book = Turns(demo_site())
    heard(book, [400.0 if k % 2 else -400.0 for k in range(40)])
    assert book.settled(START + timedelta(seconds=60), wanted(-300.0, is_ordered=True)).storage["bess-1"].kw == -300.0


def test_the_budget_survives_a_restart():
    book, again = Turns(demo_site()), Turns(demo_site())
    heard(book, [400.0 if k % 2 else -400.0 for k in range(40)])
    again.restore(book.encode())
    found = again.settled(START + timedelta(seconds=60), wanted(400.0)).storage["bess-1"]
    assert found.kw == 0.0 and "turned round 6 times" in found.reason


def test_in_closed_loop_a_plan_that_flips_every_cycle_hardly_moves_storage_in_an_hour():
    loop, rng = Loop(demo_site(1450.0)), random.Random(1)
    moved_kw = 0.0
    for k in range(3600):
        plan = encode_plan(flat_plan(loop.site, loop.now, 400.0 if k % 2 else -400.0, 1400.0))
        before = loop.plant.devices["bess-1"].power_kw
        loop.cycle(texture(rng, 200.0, 100.0), [("plan", plan)])
        moved_kw += abs(loop.plant.devices["bess-1"].power_kw - before)
    assert 100.0 < moved_kw < 12 * 500.0
    assert loop.truth.over_s == 0.0
