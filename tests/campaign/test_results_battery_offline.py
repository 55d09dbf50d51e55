"""The battery's policies without the control loop: a known future earns the bound, a kWh is worth what it replaces, ranks forget."""

from datetime import timedelta

import numpy as np
import pytest

from ems.forecast.price_source import MEAN_WEIGHTS
from ems.forecast.protocol import LEVEL_ARRAY
from tests.campaign.results_battery import Month
from tests.campaign.results_battery_offline import Account, believed, earned, foreseen
from tests.campaign.results_battery_policies import LEVELS, POLICIES, Market, before, ranks, wanted_kw

MONTH = Month("nem", "start", 0)
LEADS = np.arange(1, 50)


def market(noise: float) -> Market:
    """A daily wave, hourly, with noise of a seed; forecasts know the wave and how wide the noise is."""
    days = (MONTH.end - MONTH.begin) // timedelta(days=1) + 5
    first = round(MONTH.begin.timestamp() / 3600.0) - 24
    wave = 0.06 + 0.05 * np.sin(2.0 * np.pi * np.arange(24 * (days + 4)) / 24.0)
    prices = wave[: 24 * days] + noise * np.random.default_rng(3).uniform(-1.0, 1.0, 24 * days)
    told = wave[np.arange(24 * days + 1)[:, None] + LEADS[None] - 1]
    return Market("nem", prices, first, 3600.0, LEADS, told[:, None, :] + noise * (2.0 * LEVEL_ARRAY - 1.0)[None, :, None])


def test_a_future_that_is_known_earns_nearly_the_bound_and_noise_costs():
    sure, unsure = market(0.0), market(0.03)
    assert earned(sure, MONTH, POLICIES["mean"]) / foreseen(sure, MONTH) == pytest.approx(0.98, abs=0.02)
    shares = {name: earned(unsure, MONTH, policy) / foreseen(unsure, MONTH) for name, policy in POLICIES.items()}
    assert shares["mean"] < 0.95 and shares["told 60 min"] > shares["mean"]


def test_ranks_keep_their_shares_and_forget_without_correlation():
    for correlation in (0.0, 0.6, 0.99):
        assert ranks(correlation).sum(axis=1) == pytest.approx(np.ones(len(MEAN_WEIGHTS)))
    assert ranks(0.0)[0] == pytest.approx(MEAN_WEIGHTS) and np.argmax(ranks(0.99)[3]) == 3


def test_a_stored_kwh_is_worth_what_it_replaces_and_no_more_than_buying_it():
    battery = believed(MONTH.seed)[0]
    value = np.linspace(0.09, 0.05, LEVELS)[None]
    for price in (0.0, 0.04, 0.06, 0.2):
        found = before(value, np.array([price]), 0.25, battery)[0]
        assert (np.diff(found) <= 1e-12).all()
        assert found.min() >= min(price * battery.discharge_efficiency, 0.05) - 1e-12
        assert found.max() <= max(price / battery.charge_efficiency, 0.09, price * battery.discharge_efficiency) + 1e-12


def test_it_buys_below_the_worth_of_a_stored_kwh_and_sells_above():
    battery = believed(MONTH.seed)[0]
    flat = np.full(LEVELS, 0.1)
    assert [wanted_kw(flat, 1000.0, price, 0.25, battery) for price in (0.05, 0.1, 0.2)] == pytest.approx([1000.0, 0.0, -1000.0], abs=1.0)


def test_an_account_never_holds_more_than_the_plant_can():
    file, plant = believed(MONTH.seed)
    account = Account(file, plant)
    for kw in (5000.0,) * 5 + (-5000.0,) * 9:
        account.take(kw, 0.1, 1.0)
        assert -1e-9 <= account.held_kwh <= plant.energy_kwh + 1e-9
    assert account.held_kwh == pytest.approx(0.0) and account.money > 0.0
