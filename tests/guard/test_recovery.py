"""How a store comes back after a fault."""

from __future__ import annotations

import random

from ems.guard.recovery import GOOD_CYCLES
from tests.control.loop import Loop, demo_site, texture


def test_a_store_that_was_silent_gets_power_after_ten_good_cycles():
    loop, rng = Loop(demo_site(1350.0)), random.Random(2)
    loop.run(60, lambda k: texture(rng))
    loop.plant.devices["bess-1"].inject("silent", loop.now.timestamp() + 20.0)
    loop.run(20, lambda k: texture(rng))
    rules = []
    for _ in range(GOOD_CYCLES + 8):
        rules.append(loop.cycle(texture(rng)).verdict.storage["bess-1"].low_rule)
    back = rules.index("just back: ten good cycles first")
    assert rules[back : back + GOOD_CYCLES - 1] == ["just back: ten good cycles first"] * (GOOD_CYCLES - 1)
    assert rules[back + GOOD_CYCLES - 1] not in ("device not trusted", "just back: ten good cycles first")
