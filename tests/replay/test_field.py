"""The plant as the controller's field: a device that shows what it was told and does something else is told again."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ems.dispatch.setpoint import Setpoint
from ems.replay.field import TOLD_AGAIN_S, SimulatedField
from simulators.plant import Plant
from tests.control.loop import START, demo_site, even

CALM = {"hall-a": even(350.0), "hall-b": even(150.0)}


@pytest.mark.parametrize(("astray", "stays_kw"), [((), 100.0), (("bess-1",), 0.0)])
def test_a_store_that_once_ignored_its_setpoint_is_told_again_while_it_is_astray(astray: tuple[str, ...], stays_kw: float):
    plant = Plant(demo_site(), 7)
    field, at_s = SimulatedField(plant), START.timestamp()

    def run(kw: float, seconds: int) -> None:
        nonlocal at_s
        for _ in range(seconds):
            field.image(START)
            field.apply([Setpoint("bess-1", "power_setpoint_kw", kw, "told", START)], True, astray)
            field.flush(at_s)
            plant.step(1.0, datetime.fromtimestamp(at_s, UTC), CALM, 20.0)
            at_s += 1.0

    run(100.0, 30)
    plant.devices["bess-1"].inject("ignores", at_s + 10.0)
    run(0.0, 10)
    assert plant.devices["bess-1"].commands()["power_setpoint_kw"] == 0.0
    run(0.0, int(TOLD_AGAIN_S) + 20)
    assert plant.devices["bess-1"].power_kw == pytest.approx(stays_kw, abs=1.0)
