"""How fast 400 strings are split: the closed form against finding the level by halving, both in this process, interleaved."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import numpy as np
import pytest

from ems.dispatch.water_fill import LEVEL_H, StringRoom, water_fill

pytestmark = pytest.mark.bench
STRINGS, ROUNDS, HALVINGS = 400, 300, 50


def by_halving(total_kw: float, strings: list[StringRoom]) -> list[float]:
    """The same split by bisection, as one would write it first."""

    def at(level: float) -> list[float]:
        return [min(max(s.energy_kwh / LEVEL_H * (level - s.soc), s.low_kw), min(s.high_kw, 0.0)) for s in strings]

    low, high = -10.0, 10.0
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if sum(at(middle)) < total_kw else (low, middle)
    return at(0.5 * (low + high))


def seconds(split: Callable[[float, list[StringRoom]], list[float]], total_kw: float, strings: list[StringRoom]) -> float:
    begun = time.perf_counter()
    split(total_kw, strings)
    return time.perf_counter() - begun


def test_four_hundred_strings_are_split_in_an_eighth_of_the_time_of_halving() -> None:
    rng = random.Random(4)
    strings = [StringRoom(-rng.uniform(50, 300), 300.0, rng.uniform(300, 600), rng.random()) for _ in range(STRINGS)]
    totals = [-rng.uniform(1_000, 60_000) for _ in range(ROUNDS)]
    assert water_fill(totals[0], strings) == pytest.approx(by_halving(totals[0], strings), abs=1e-3)
    ours, theirs = zip(*((seconds(water_fill, t, strings), seconds(by_halving, t, strings)) for t in totals), strict=True)
    p50, p99 = np.percentile(ours, [50, 99]) * 1000
    ratio = float(np.median(ours) / np.median(theirs))
    print(f"split of {STRINGS} strings: p50 {p50:.2f}, p99 {p99:.2f} ms (aim < 1 ms); {ratio:.3f} of halving")
    assert ratio <= 1 / 8
