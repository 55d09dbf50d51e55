"""Chillers that trip and a feed that is lost in the hottest hour, on a plant that is worse than its file in everything."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ems.replay.runner import Run
from ems.replay.scenario import load_scenario
from ems.replay.world import build_world
from simulators.devices.chilled_water import ChilledWaterDevice
from tests.campaign.watch import Watch

SCENARIOS = Path(__file__).resolve().parents[2] / "config" / "scenarios"
WINDOW = {"start": "2024-08-20T19:45:00Z", "end": "2024-08-20T20:30:00Z"}
WORSE = 9


def around_the_fault(name: str, folder: Path) -> Run:
    text = (SCENARIOS / f"{name}.yaml").read_text().replace("../sites", str(SCENARIOS.parent / "sites"))
    text = text.replace("generated/", f"{SCENARIOS}/generated/")
    for key, value in WINDOW.items():
        text = re.sub(rf"(?m)^{key}: .*$", f"{key}: {value}", text)
    path = folder / "scenario.yaml"
    path.write_text(text)
    return Run(build_world(load_scenario(path), WORSE), "plan")


@pytest.mark.parametrize("name", ["chiller-trip", "feed-loss"])
def test_power_follows_cooling_within_the_runway_and_work_is_shed_in_the_order_of_its_tiers(tmp_path: Path, name: str):
    run = around_the_fault(name, tmp_path)
    watch = Watch(run)
    summary = run.execute(tmp_path / "plan", lambda done: None)
    found = watch.found(tmp_path / "plan")
    normal_kw = summary["energy"]["it_kwh"] / 0.75
    assert found["least_it_kw"] < 0.8 * normal_kw and found["cut_s"] > 60.0 and found["out_of_order_s"] == 0.0
    assert 28.0 < found["warmest_c"] < found["allowed_c"]
    limits = summary["limits"]
    assert (limits["thermal_breach_s"], limits["import_excursion_s"], limits["reserve_shortfall_s"]) == (0.0, 0.0, 0.0)
    assert all(isinstance(device, ChilledWaterDevice) for device in run.plant.coolings)


def test_work_that_does_not_follow_would_boil_the_loop(tmp_path: Path):
    run = around_the_fault("chiller-trip", tmp_path)
    blind = Run(run.world, "none").execute(tmp_path / "none", lambda done: None)
    assert blind["limits"]["thermal_breach_s"] > 60.0
