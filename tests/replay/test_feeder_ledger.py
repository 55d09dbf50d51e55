"""The ledger counts the time over a feeder's limit, whichever way the power flows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ems.replay.ledger import Ledger
from tests.control.loop import START, Loop, demo_site, even


@pytest.mark.parametrize(("kw", "is_over"), [(990.0, False), (1010.0, True), (-990.0, False), (-1010.0, True)])
def test_a_feeder_is_over_its_limit_in_either_direction(kw: float, is_over: bool) -> None:
    site = demo_site()
    loop = Loop(site, "plan")
    step = loop.plant.step(5.0, START, {"hall-a": even(300.0), "hall-b": even(100.0)}, 20.0)
    ledger = Ledger(site, 0.0, START)
    ledger.add(replace(step, feeder_kw={"halls": 500.0, "utility": kw}), START.timestamp(), 0.05, 1370.0, None)
    assert ledger.limits(5.0)["feeder_excursion_s"] == (5.0 if is_over else 0.0)
