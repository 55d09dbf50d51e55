"""A replay under a tariff of many charges: what the summary says is what the bill engine makes of the time series."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ems.errors import ConfigError
from ems.kpi.bills.bill import make_bills
from ems.kpi.bills.lines import DEMAND, ENERGY
from ems.kpi.bills.metered import Metered
from ems.replay.billing import carbon_rows
from ems.replay.command import run_replay
from ems.replay.scenario import load_scenario
from ems.replay.world import build_world
from tests.replay import made

AFTERNOON = datetime(2024, 8, 20, 18, tzinfo=UTC)  # 13:00 in Chicago: the window of the demand charge opens within the replay
OVERRIDES = "{point_of_connection: {import_limit_kw: 1370}, tariff: us-tou-demand-ratchet}"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("bill")
    scenario = made.write_scenario(folder, 1.25, AFTERNOON, control_step_s="60", overrides=OVERRIDES, peak_so_far_kw="900")
    assert run_replay(scenario, folder / "out", ["capped", "plan", "bound"], [], 1, lambda *_: None, lambda _: None) == 0
    return scenario, folder / "out"


def test_energy_and_demand_are_those_of_the_bill(finished: tuple[Path, Path]) -> None:
    scenario, out = finished
    site = load_scenario(scenario).site
    for policy in ("capped", "plan"):
        cost = json.loads((out / policy / "summary.json").read_text())["cost"]
        series = pd.read_parquet(out / policy / "timeseries.parquet")
        kw = series["poc_kw"].to_numpy().reshape(-1, 5).mean(axis=1)
        (bill,) = make_bills(site.tariff, site.currency, site.time_zone, Metered(AFTERNOON, 5, np.asarray(kw)))
        assert cost["energy"] == pytest.approx(float(bill.part(ENERGY)), abs=0.01)
        assert cost["demand"] == pytest.approx(float(bill.part(DEMAND)), abs=0.01)
        assert {line.name for line in bill.lines if line.amount} >= {
            "summer on-peak",
            "off-peak",
            "summer on-peak demand",
            "facility demand",
        }


def test_no_policy_is_cheaper_than_the_bound(finished: tuple[Path, Path]) -> None:
    comparison = json.loads((finished[1] / "comparison.json").read_text())
    assert comparison["bound"]["solved"]
    assert all(comparison["bound"]["total"] <= p["total"] + 0.01 for name, p in comparison["policies"].items() if name != "bound")


def test_a_coincident_peak_inside_the_window_is_foreseen_and_billed(tmp_path: Path) -> None:
    """The system peaks at 14:00 in Chicago: the plan empties its battery then, the bill charges a quarter of the year's price."""
    hours = np.arange(20 * 24)
    load = 60e3 + 1e3 * np.abs(hours % 24 - 12) / -1.0 + 9e3 * (hours == 19 * 24 + 19 - 5)
    made.write_prices(tmp_path / "system.csv", datetime(2024, 8, 1, 5, tzinfo=UTC), len(hours), 60, load)
    system = "{path: system.csv, columns: {load: price}, error_share: 0.001}"
    overrides = "{point_of_connection: {import_limit_kw: 1370}, tariff: ercot-real-time-4cp}"
    scenario = made.write_scenario(tmp_path, 1.25, AFTERNOON, control_step_s="60", overrides=overrides, system_load=system)
    assert run_replay(scenario, tmp_path / "out", ["capped", "plan"], [], 1, lambda *_: None, lambda _: None) == 0
    site, kw = load_scenario(scenario).site, {}
    for policy in ("capped", "plan"):
        cost = json.loads((tmp_path / "out" / policy / "summary.json").read_text())["cost"]
        quarters = pd.read_parquet(tmp_path / "out" / policy / "timeseries.parquet")["poc_kw"].to_numpy().reshape(-1, 15).mean(axis=1)
        kw[policy] = quarters[4]
        assert cost["demand"] == pytest.approx(67.0 / 4 * kw[policy] + 4.70 * quarters.max(), abs=0.1)
    assert site.tariff.coincident_peak is not None and kw["plan"] < kw["capped"] - 100.0


def test_a_tariff_that_prices_carbon_needs_that_carbon_in_the_scenario(tmp_path: Path) -> None:
    tariff = "{point_of_connection: {import_limit_kw: 1370}, tariff: {carbon: {price_per_kg: 0.05, signal: marginal}}}"
    carbon = made.write_prices(tmp_path / "carbon.csv", AFTERNOON, 8, values=np.full(8, 400.0))
    series = f"{{path: {carbon}, columns: {{carbon: price}}"
    with pytest.raises(ConfigError, match="prices marginal carbon"):
        load_scenario(made.write_scenario(tmp_path, 1.0, AFTERNOON, overrides=tariff, carbon=series + "}"))
    scenario = load_scenario(made.write_scenario(tmp_path, 1.0, AFTERNOON, overrides=tariff, carbon=series + ", signal: marginal}"))
    rows = carbon_rows(build_world(scenario, 7))
    assert rows[0].source == "marginal" and rows[0].carbon_g_per_kwh == 400.0 and rows[0].available_at == rows[0].valid_to
