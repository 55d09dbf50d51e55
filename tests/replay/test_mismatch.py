"""A plant that differs from its site file: what differs, who knows, and that limits and bound stand all the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ems.replay.bound import bound_of
from ems.replay.mismatch import QUANTITIES, Mismatch, drawn, plant_of
from ems.replay.runner import Run
from ems.replay.scenario import load_scenario
from ems.replay.world import World, build_world
from ems.site.load import load_site
from tests.replay import made

SITE = load_site(made.SITE)
CAMPUS = load_site(made.SITE.with_name("campus-300mw.yaml"))
WORSE, SHARE = 9, 0.1


def world_of(folder: Path, hours: float = 1.0, seed: int = WORSE, **changes: str) -> World:
    return build_world(load_scenario(made.write_scenario(folder, hours, **changes)), seed)


def test_one_seed_in_three_is_worse_in_everything_and_the_others_are_mixed_but_always_by_the_share():
    seeds = [tuple(getattr(drawn(SHARE, seed), name) for name in QUANTITIES) for seed in range(30)]
    assert all(abs(abs(factor - 1.0) - SHARE) < 1e-12 for factors in seeds for factor in factors)
    assert all(factors == (0.9,) * 5 for factors in seeds[::3])
    assert len(set(seeds)) > 8 and any(factors.count(1.1) >= 3 for factors in seeds)
    assert drawn(SHARE, 10) == drawn(SHARE, 10)


def test_without_a_share_the_plant_is_the_site():
    assert plant_of(SITE, 0.0, WORSE) is SITE


def test_a_worse_plant_is_worse_in_every_rating_that_is_named_and_in_no_other():
    plant = plant_of(SITE, SHARE, WORSE)
    battery, ups, cooling = plant.batteries[0], plant.upses[0], plant.coolings[0]
    assert battery.energy_kwh == pytest.approx(900.0) and ups.energy_kwh == pytest.approx(360.0)
    assert battery.charge_efficiency * battery.discharge_efficiency == pytest.approx(0.9 * 0.94**2)
    assert (cooling.fraction_at_40c, cooling.lag_s) == (pytest.approx(0.25 / 0.9), pytest.approx(330.0))
    assert [c.idle_kw for c in plant.clusters] == pytest.approx([297.0, 165.0]) and battery.ramp_kw_per_s == pytest.approx(225.0)
    assert ups.loss_fraction == pytest.approx(0.044)
    assert (battery.power_kw, plant.point_of_connection, plant.tariff) == (500.0, SITE.point_of_connection, SITE.tariff)


def test_no_store_gives_back_more_than_it_took_however_lucky_the_seed():
    lucky = next(seed for seed in range(100) if drawn(SHARE, seed) == Mismatch(1.1, 1.1, 1.1, 1.1, 1.1))
    for store in (plant_of(SITE, SHARE, lucky).batteries[0], plant_of(SITE, SHARE, lucky).upses[0]):
        assert store.charge_efficiency < 1.0 and store.discharge_efficiency < 1.0


@pytest.mark.parametrize("seed", range(8))
def test_the_reserve_that_the_controller_keeps_by_its_file_is_never_below_that_of_the_bound(seed: int):
    for site in (SITE, CAMPUS):
        for believed, real in zip(site.upses, plant_of(site, SHARE, seed).upses, strict=True):
            assert real.reserve_soc(0.0) <= believed.reserve_soc(0.0) + 1e-12


def test_with_more_idle_power_the_peak_stays_and_what_lies_above_idle_and_can_be_moved_shrinks(tmp_path: Path):
    plain, off = world_of(tmp_path), world_of(tmp_path, mismatch="0.1")
    for name, demand in off.demand.items():
        was, cluster = plain.demand[name], demand.cluster
        shrunk = (cluster.peak_kw - cluster.idle_kw) / (cluster.peak_kw - was.cluster.idle_kw)
        assert shrunk < 0.96 and np.isclose(demand.class_kw["batch"], shrunk * was.class_kw["batch"]).mean() > 0.95
        assert demand.power_kw().max() == pytest.approx(was.power_kw().max(), rel=0.01)


def test_a_worse_plant_draws_more_stores_less_and_has_a_dearer_bound(tmp_path: Path):
    plain, off = world_of(tmp_path), world_of(tmp_path, mismatch="0.1")
    runs = [Run(world, "none").execute(tmp_path / name, lambda done: None) for world, name in ((plain, "plain"), (off, "off"))]
    per_it = [run["energy"]["cooling_kwh"] / run["energy"]["it_kwh"] for run in runs]
    assert per_it[1] == pytest.approx(per_it[0] / 0.9, rel=0.01)
    assert Run(off, "plan").stored_kwh()["bess-1"] == pytest.approx(450.0)
    bounds = [bound_of(world, lambda done: None)["total"] for world in (plain, off)]
    assert bounds[1] > 1.01 * bounds[0]


@pytest.mark.parametrize("seed", [9, 10])
def test_limits_and_reserve_hold_and_no_policy_beats_the_bound_of_its_plant(tmp_path: Path, seed: int):
    world = world_of(tmp_path, 2.0, seed, mismatch="0.1", overrides="{point_of_connection: {import_limit_kw: 1100}}", control_step_s="30")
    believed = world.site.batteries[0].energy_kwh
    run = Run(world, "plan")
    assert run.controller is not None and believed == 1000.0 and run.plant.batteries[0].rating.energy_kwh != believed
    result = run.execute(tmp_path / "plan", lambda done: None)
    assert result["limits"]["import_excursion_s"] <= 10 and result["limits"]["reserve_shortfall_s"] == 0
    assert result["cost"]["total"] > bound_of(world, lambda done: None)["total"]
