"""The sovereign site replayed for a few hours: what the summary and the time series say of its machines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ems.replay.runner import Run
from ems.replay.scenario import load_scenario
from ems.replay.world import build_world

SCENARIO = Path(__file__).parents[2] / "config/scenarios/sovereign-day.yaml"


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """Three hours at 60-s control around the backup order, planned every quarter of an hour."""
    folder = tmp_path_factory.mktemp("sovereign")
    text = SCENARIO.read_text().replace("start: 2024-08-20T05", "start: 2024-08-20T19").replace("end: 2024-08-21T05", "end: 2024-08-20T22")
    text = text.replace("control_step_s: 30", "control_step_s: 60").replace("plan_every_s: 300", "plan_every_s: 900")
    text = text.replace("../sites", str(SCENARIO.parents[1] / "sites")).replace("generated/", f"{SCENARIO.parent}/generated/")
    (folder / "scenario.yaml").write_text(text)
    Run(build_world(load_scenario(folder / "scenario.yaml"), 7), "plan").execute(folder / "plan", lambda done: None)
    summary = json.loads((folder / "plan/summary.json").read_text())
    return summary, pq.read_table(folder / "plan/timeseries.parquet").to_pydict()


def test_the_import_is_the_sum_of_all_assets_machines_included(replayed: tuple[dict[str, Any], dict[str, list[float]]]) -> None:
    _, series = replayed
    names = [name for name in series if name.startswith("asset:")]
    assert {"asset:smr-1_kw", "asset:gas-1_kw", "asset:diesel-1_kw", "asset:pv-1_kw"} <= set(names)
    for k, poc_kw in enumerate(series["poc_kw"]):
        assert poc_kw == pytest.approx(sum(series[name][k] for name in names), abs=0.1)


def test_energy_adds_up_with_what_was_generated(replayed: tuple[dict[str, Any], dict[str, list[float]]]) -> None:
    summary, series = replayed
    energy = summary["energy"]
    used = (
        energy["it_kwh"]
        + energy["cooling_kwh"]
        + energy["losses_kwh"]
        + energy["fixed_kwh"]
        + energy["charge_kwh"]
        - energy["discharge_kwh"]
    )
    assert energy["import_kwh"] - energy["export_kwh"] == pytest.approx(used - energy["generation_kwh"], rel=1e-6)
    made = [-kw / 60 for name in series if name.split(":")[-1][:3] in ("smr", "gas", "die", "pv-") for kw in series[name]]
    assert energy["generation_kwh"] == pytest.approx(sum(made), rel=1e-6)


def test_fuel_is_charged_and_hours_stand_by_reason(replayed: tuple[dict[str, Any], dict[str, list[float]]]) -> None:
    summary, _ = replayed
    machines = summary["generation"]
    assert summary["cost"]["fuel"] > 0.0
    assert summary["cost"]["total"] == pytest.approx(sum(v for k, v in summary["cost"].items() if isinstance(v, float) and k != "total"))
    assert set(machines["smr-1"]["run_hours"]["2024"]) == {"baseload"}
    assert set(machines["diesel-1"]["run_hours"]["2024"]) == {"order"} and machines["diesel-1"]["starts"] >= 1
    assert machines["smr-2"]["generation_kwh"] == 0.0  # its announced outage


def test_the_diesels_run_in_the_order_only_and_no_limit_is_broken(replayed: tuple[dict[str, Any], dict[str, list[float]]]) -> None:
    summary, series = replayed
    assert summary["limits"]["import_excursion_s"] == 0.0 and summary["limits"]["reserve_shortfall_s"] == 0.0
    for at, kw in zip(series["time"], series["asset:diesel-1_kw"], strict=True):
        assert kw == 0.0 or (20, 0) <= (at.hour, at.minute) <= (21, 2)
    assert min(series["asset:diesel-1_kw"]) < 0.0
