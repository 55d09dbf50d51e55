"""The larger sites: what they are made of, and a scenario of each that runs."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from ems.replay.runner import Run
from ems.replay.scenario import load_scenario
from ems.replay.world import build_world
from ems.site.load import load_site
from ems.site.storage_classes import planned_site, storage_classes

CONFIG = Path(__file__).parents[2] / "config"
SCENARIOS = ("edge-day", "enterprise-evening", "campus-evening")


@pytest.mark.parametrize(
    ("name", "batteries", "classes", "halls"), [("edge-5mw", 1, 0, 2), ("enterprise-50mw", 24, 2, 4), ("campus-300mw", 400, 16, 8)]
)
def test_a_site_is_what_its_name_says_and_is_planned_with_sixteen_stores_of_strings_at_most(
    name: str, batteries: int, classes: int, halls: int
) -> None:
    site = load_site(CONFIG / "sites" / f"{name}.yaml")
    assert (len(site.batteries), len(storage_classes(site)), len(site.clusters)) == (batteries, classes, halls)
    assert len(planned_site(site).batteries) <= 16
    assert site.is_loopback
    assert all(u.redundant_blocks >= 1 for u in site.upses) and all(c.plant is not None for c in site.coolings)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_of_each_can_be_read(name: str) -> None:
    assert load_scenario(CONFIG / "scenarios" / f"{name}.yaml").cycles > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_of_each_runs_and_breaks_nothing(name: str, tmp_path: Path) -> None:
    scenario = load_scenario(CONFIG / "scenarios" / f"{name}.yaml")
    result = Run(build_world(scenario, 7), "plan").execute(tmp_path, lambda done: None)
    limits = result["limits"]
    assert limits["import_excursion_s"] == 0 and limits["thermal_breach_s"] == 0 and limits["reserve_shortfall_s"] == 0
    assert limits["feeder_excursion_s"] == 0 and limits["soc_breach_kwh"] < 0.1
    assert result["planner"]["fallbacks"] == 0 and result["planner"]["solves"] >= 8
    assert result["simulated_s"] == pytest.approx((scenario.model.end - scenario.start) / timedelta(seconds=1))
