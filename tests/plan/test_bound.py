"""The bound is a relaxation of the plant: whatever one does to the plant costs at least as much."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from ems.assets.workload.model import CLASSES
from ems.errors import PlanInfeasible
from ems.plan.bound import BoundInputs, solve_bound
from ems.site.load import load_site
from ems.site.model import Site
from ems.site.tariff import ContractCapacity
from tests.plan.given import MONDAY, demo_site, hour_of_day

SITE = demo_site()


def window(days: float, seed: int = 0, start: datetime = MONDAY, base: float = 0.55) -> BoundInputs:
    n = round(days * 96)
    rng = np.random.default_rng(seed)
    starts = tuple(start + timedelta(minutes=15 * k) for k in range(n))
    hour = hour_of_day(starts)
    use = np.clip(base + 0.4 * np.sin(2 * np.pi * (hour - 13) / 24) + rng.normal(0, 0.05, n), 0.0, 1.2)
    demand = {c.id: {k: kind.share * (c.peak_kw - c.idle_kw) * use for k, kind in c.classes.items()} for c in SITE.clusters}
    price = 0.03 + 0.3 * np.exp(-(((hour - 23) / 2) ** 2)) + rng.normal(0, 0.01, n)
    return BoundInputs(starts, demand, price, 28 + 8 * np.sin(2 * np.pi * (hour - 15) / 24), {"bess-1": 500.0, "ups-1": 400.0})


def untouched_cost(site: Site, inputs: BoundInputs) -> float:
    """A plant nobody touches, in 5-s steps with its cooling lag, priced as the contract says; shares nothing with the program."""
    fraction = np.repeat([site.coolings[0].fraction(float(t)) for t in inputs.outdoor_temp_c], 180)
    it = sum(c.idle_kw + sum(inputs.class_demand_kw[c.id][k] for k in CLASSES) for c in site.clusters)
    it5 = np.repeat(it, 180)
    cooling, state, share = np.empty(len(it5)), fraction[0] * it5[0], 1 - np.exp(-5 / site.coolings[0].lag_s)
    for k, drive in enumerate(fraction * it5):
        state += share * (drive - state)
        cooling[k] = state
    imported = (it5 * 1.04 + cooling + 30).reshape(-1, 180).mean(axis=1)
    over = np.maximum(imported - site.point_of_connection.import_limit_kw, 0).sum() * 0.25
    return float(0.25 * imported @ inputs.price_per_kwh + 12 * imported.max() + over * site.point_of_connection.import_breach_price_per_kwh)


def unmovable(site: Site) -> Site:
    """The site without any freedom: no battery, a monitored UPS, work that can neither wait nor be throttled."""
    clusters = {}
    for c in site.clusters:
        kinds = {k: replace(v, throttle_price_per_kwh=None, defer_price_per_kwh=None) for k, v in c.classes.items()}
        clusters[c.id] = replace(c, classes=kinds)
    assets = {k: v for k, v in site.assets.items() if k != "bess-1"}
    return replace(site, assets={**assets, **clusters, "ups-1": replace(site.upses[0], is_grid_interactive=False)})


def test_doing_nothing_is_never_cheaper_than_the_bound_and_close_to_it_when_nothing_can_be_done() -> None:
    stiff = unmovable(demo_site(1850.0))
    inputs = window(2.0)
    nothing, least = untouched_cost(stiff, inputs), solve_bound(stiff, inputs).total
    assert least <= nothing + 1e-6
    assert least >= 0.975 * nothing  # what is left is the freedom of the lag within a step
    assert solve_bound(demo_site(1850.0), inputs).total < 0.95 * nothing


def test_the_parts_add_up_to_the_total_and_the_gap_is_closed() -> None:
    found = solve_bound(SITE, window(2.0))
    assert found.solved and abs(found.gap) < 1e-6
    assert found.total == pytest.approx(sum(found.cost.values()))
    inputs = window(2.0)
    assert found.cost["energy"] == pytest.approx(0.25 * float(found.import_kw @ inputs.price_per_kwh), rel=1e-9)
    assert found.cost["demand"] == pytest.approx(12 * found.import_kw.max(), rel=1e-6)
    credit = -sum((e[-1] - e[0]) * inputs.price_per_kwh.mean() * (0.94 if k == "bess-1" else 0.97) for k, e in found.energy_kwh.items())
    assert found.cost["stored_energy_credit"] == pytest.approx(credit)


def test_more_freedom_never_costs_more() -> None:
    inputs = window(1.0)
    free = solve_bound(SITE, inputs).total
    assert free <= solve_bound(demo_site(1250.0), inputs).total + 1e-6
    small = replace(SITE.batteries[0], power_kw=100.0)
    assert free <= solve_bound(replace(SITE, assets={**SITE.assets, "bess-1": small}), inputs).total + 1e-6
    assert free <= solve_bound(SITE, replace(inputs, peak_so_far_kw=1300.0)).total + 1e-6


def test_work_is_dropped_at_the_end_of_the_window_at_its_price() -> None:
    """Prices so high at the end that deferring pays although the work is lost."""
    inputs = window(1.0)
    price = np.where(np.arange(96) >= 92, 4.8, 0.05)
    no_store = {"bess-1": replace(SITE.batteries[0], power_kw=0.0), "ups-1": replace(SITE.upses[0], is_grid_interactive=False)}
    found = solve_bound(replace(SITE, assets={**SITE.assets, **no_store}), replace(inputs, price_per_kwh=price))
    dynamic = sum(sum(v[92:].sum() for v in classes.values()) for classes in inputs.class_demand_kw.values()) * 0.25
    it_kw = sum(found.it_kw.values())[92:]
    assert it_kw.sum() * 0.25 < 420.0 + 0.05 * dynamic
    assert found.cost["workload"] > 0.4 * dynamic * 1.03


def test_the_peak_is_charged_per_local_month_in_full() -> None:
    turning = window(1.0, start=datetime(2024, 8, 31, 17, tzinfo=UTC))  # local midnight is at 05:00Z
    one, two = solve_bound(SITE, window(1.0)), solve_bound(SITE, turning)
    assert two.cost["demand"] > 1.5 * one.cost["demand"]


def test_the_reserve_at_its_floor_stays_in_the_ups() -> None:
    found = solve_bound(SITE, replace(window(1.0), price_per_kwh=np.r_[np.full(48, 4.0), np.full(48, 0.02)]))
    assert found.energy_kwh["ups-1"].min() == pytest.approx(SITE.upses[0].reserve_soc(0.0) * 400.0)


def test_a_window_that_cannot_be_solved_in_time_is_named() -> None:
    with pytest.raises(PlanInfeasible, match="bound"):
        solve_bound(SITE, window(7.0), budget_s=1e-3)


def battery_site() -> Site:
    return load_site(Path("config/sites/battery-1mw.yaml"))


def battery_alone(prices: list[float], step_h: float, energy_kwh: float = 1000.0) -> BoundInputs:
    starts = tuple(MONDAY + timedelta(hours=step_h * k) for k in range(len(prices)))
    n = len(starts)
    return BoundInputs(starts, {}, np.array(prices), np.full(n, 20.0), {"bess-1": energy_kwh}, step_h=step_h)


def test_the_steps_of_a_finer_market_are_its_own_and_earn_what_one_works_out_by_hand() -> None:
    found = solve_bound(battery_site(), battery_alone([0.1, 0.1, 0.0, 1.0, 0.1, 0.1], 1 / 12))
    mean = 1.4 / 6
    bought, sold = 1000.0 / 12, 1000.0 / 12  # one step at 0.0 and one at 1.0; the others are below what is left is worth: bought too
    stored = 1000.0 / 12 * 0.938 * 5 - sold / 0.938
    by_hand = 0.1 * 4 * bought - 1.0 * sold - stored * mean * 0.938
    assert found.total == pytest.approx(by_hand)


def test_a_store_paid_to_waste_shares_the_time_of_a_step_between_charging_and_discharging() -> None:
    """Full, and paid to import: of its time it charges c and discharges 1 - c, with as much stored as taken out."""
    found = solve_bound(battery_site(), battery_alone([-1.0] * 4, 0.25, energy_kwh=2000.0))
    charging = 1.0 / (1.0 + 0.938**2)
    worth_of_rest = 0.0  # a stored kWh at the end counts at the mean price: below zero, so emptying is never better than standing
    assert found.import_kw.sum() * 0.25 == pytest.approx(1000.0 * (2.0 * charging - 1.0) + worth_of_rest)


def test_what_a_contract_costs_whatever_is_imported_is_owed_by_the_bound_too() -> None:
    def owed(price: float) -> float:
        return solve_bound(contracted(price), window(1.0)).total

    assert owed(2.0) - owed(0.0) == pytest.approx(2.0 * 1150.0, abs=0.01)


def contracted(price: float) -> Site:
    contract = ContractCapacity(1150.0, price, 20.0, 15)
    return replace(SITE, tariff=replace(SITE.tariff, contract_capacity=contract, demand_price_per_kw_month=0.0))
