"""Sun and wind: the block by hand, what purchase and curtailment cost, the envelope."""

from __future__ import annotations

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest

from ems.assets.renewable.block import RenewableBlock
from ems.assets.renewable.envelope import renewable_envelope
from ems.assets.renewable.model import Renewable, RenewableState
from tests.assets.generator_site import PV, site_with

HOURS = np.array([0.25, 0.25, 0.5, 1.0])
PLANT = site_with(pv_1={**PV, "purchase_price_per_kwh": 0.04, "curtailment_price_per_kwh": 0.01}).renewables[0]


def block(plant: Renewable = PLANT) -> RenewableBlock:
    hours = cp.Parameter(4, nonneg=True)
    hours.value = HOURS
    made = RenewableBlock(plant, hours)
    made.update(np.array([0.0, 100, 150, 500]), HOURS)
    return made


def test_sun_is_taken_or_curtailed_but_never_more_than_is_there() -> None:
    sun = block()
    sun.curtailed_kw.value = np.array([0.0, 40, 0, 200])
    assert sun.power_kw.value.tolist() == [0, -60, -150, 0]  # 500 kW expected of a plant of 200
    assert np.max(sun.constraints["curtails at most what is there"].violation()) == 0.0
    sun.curtailed_kw.value = np.array([0.0, 101, 0, 0])
    assert np.max(sun.constraints["curtails at most what is there"].violation()) == pytest.approx(1.0)


def test_power_delivered_costs_its_price_and_power_not_taken_its_own() -> None:
    sun = block()
    sun.curtailed_kw.value = np.array([0.0, 40, 0, 200])
    delivered_kwh, curtailed_kwh = 60 * 0.25 + 150 * 0.5, 40 * 0.25 + 200
    assert sun.cost.value == pytest.approx(0.04 * delivered_kwh + 0.01 * curtailed_kwh, abs=0.01)


def test_sun_is_never_thrown_away_for_nothing() -> None:
    sun = block(replace(PLANT, purchase_price_per_kwh=0.0, curtailment_price_per_kwh=0.0))
    cp.Problem(cp.Minimize(sun.cost), list(sun.constraints.values())).solve(solver=cp.HIGHS)
    assert sun.curtailed_kw.value == pytest.approx(np.zeros(4), abs=1e-9)


@pytest.mark.parametrize(
    ("state", "low", "high"),
    [
        (RenewableState(-50.0, 80.0, is_fresh=True), -200, 0),
        (RenewableState(-50.0, 80.0, is_fresh=True, is_local=True), -50, -50),
        (RenewableState(0.0, None, is_fresh=False), 0, 0),
    ],
)
def test_the_envelope_reaches_from_the_rating_to_nothing(state: RenewableState, low: float, high: float) -> None:
    envelope = renewable_envelope(PLANT, state)
    assert (envelope.low_kw, envelope.high_kw) == (low, high)
