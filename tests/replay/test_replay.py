"""Whole replays of an hour or two: the contract's files and keys, determinism, the plant's truth, faults, events, calendars."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import orjson
import pandas as pd
import pytest

from ems.replay.command import run_replay
from ems.replay.runner import Run
from ems.replay.scenario import load_scenario
from ems.replay.world import build_world
from simulators.plant import Plant
from tests.replay import made

KEYS = {
    "energy": "import_kwh export_kwh it_kwh cooling_kwh losses_kwh generation_kwh charge_kwh discharge_kwh stored_change_kwh",
    "cost": "currency energy demand fuel wear carbon workload limit_breach dr_revenue dr_penalty stored_energy_credit total",
    "peak": "import_kw interval_min",
    "limits": "resolution_s import_excursion_s import_excursion_longest_s import_excursion_max_kw import_excursion_kwh reserve_breach_kwh "
    "reserve_shortfall_s soc_breach_kwh ramp_excursion_s thermal_breach_s feeder_excursion_s",
    "service": "prompt_tokens output_tokens tokens_per_joule_it tokens_per_joule_facility token_energy_index slo_attainment "
    "queueing_delay_s tier_loss tier_violations deferred_kwh unrecovered_kwh",
    "efficiency": "pue wue_l_per_kwh carbon_kg carbon_g_per_kwh_it sustainable_it_kw",
    "dr": "events accepted declined derated compliant delivered_fraction settlement",
    "forecast": "load_kw price",
    "planner": "solves fallbacks verify_failures ms_p50 ms_p99",
    "control": "cycles ladder_seconds",
}
TOP = ["schema", "site", "policy", "start", "end", "seed", "data_quality", "wall_s", "simulated_s", "versions"]
COLUMNS = ["time", "poc_kw", "import_kw", "export_kw", "limit_kw", "it_kw", "price_per_kwh", "binding", "ladder"]


def quiet(name: str, done: float) -> None:
    """Progress nobody looks at."""


def replay(path: Path, out: Path, policies: list[str], seeds: list[int] | None = None, jobs: int = 1) -> int:
    return run_replay(path, out, policies, seeds or [], jobs, quiet, lambda text: None)


def execute(path: Path, policy: str, out: Path) -> tuple[dict, pd.DataFrame]:
    result = Run(build_world(load_scenario(path), 7), policy).execute(out / policy, lambda done: None)
    return result, pd.read_parquet(out / policy / "timeseries.parquet")


def lines(path: Path) -> list[dict]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One hour under four policies."""
    folder = tmp_path_factory.mktemp("replay")
    out = folder / "out"
    assert replay(made.write_scenario(folder, 1.0), out, ["none", "capped", "rules", "plan"]) == 0
    return out


@pytest.mark.parametrize("policy", ["none", "capped", "rules", "plan"])
def test_a_summary_has_every_key_and_its_total_is_the_sum(finished: Path, policy: str):
    summary = json.loads((finished / policy / "summary.json").read_text())
    assert [key for key in [*TOP, *KEYS] if key not in summary] == []
    assert [f"{part}.{key}" for part, names in KEYS.items() for key in names.split() if key not in summary[part]] == []
    parts = [v for k, v in summary["cost"].items() if k not in ("currency", "total")]
    assert summary["cost"]["total"] == pytest.approx(sum(parts))


@pytest.mark.parametrize("policy", ["none", "capped", "rules", "plan"])
def test_a_timeseries_balances_at_every_step(finished: Path, policy: str):
    table = pd.read_parquet(finished / policy / "timeseries.parquet")
    summary = json.loads((finished / policy / "summary.json").read_text())
    assert set(COLUMNS) <= set(table.columns) and len(table) == 720
    assets = [c for c in table if c.startswith("asset:")]
    assert len(assets) == 6
    assert (table["poc_kw"] - table[assets].sum(axis=1)).abs().max() < 0.1
    assert (table["import_kw"] - table["poc_kw"].clip(lower=0)).abs().max() < 1e-6
    assert str(table["time"].dt.tz) == "UTC" and table["time"].is_monotonic_increasing and not table["time"].duplicated().any()
    assert table["import_kw"].sum() * 5 / 3600 == pytest.approx(summary["energy"]["import_kwh"])
    assert table["store:bess-1_energy_kwh"].iloc[0] == pytest.approx(500.0)


@pytest.mark.parametrize("policy", ["capped", "rules", "plan"])
def test_energy_in_equals_energy_used_and_stored(finished: Path, policy: str):
    e = json.loads((finished / policy / "summary.json").read_text())["energy"]
    used = e["it_kwh"] + e["cooling_kwh"] + e["losses_kwh"] + e["fixed_kwh"] + e["charge_kwh"] - e["discharge_kwh"]
    assert e["import_kwh"] - e["export_kwh"] == pytest.approx(used, rel=1e-9)


def test_every_plan_and_every_changed_setpoint_is_written_down_with_its_reason(finished: Path):
    decisions = lines(finished / "plan" / "decisions.jsonl")
    plans = [d for d in decisions if d["kind"] == "plan"]
    setpoints = [d for d in decisions if d["kind"] == "setpoint"]
    assert len(plans) == 12 and all(p["hash"] and len(p["import_kw"]) == 12 for p in plans)
    assert setpoints and all(s["why"] for s in setpoints)
    assert lines(finished / "none" / "decisions.jsonl") == []


def test_the_comparison_sets_policies_beside_capped_and_the_bound(finished: Path):
    compared = json.loads((finished / "comparison.json").read_text())
    assert compared["schema"] == 1 and compared["bound"]["solved"] and compared["bound"]["gap"] < 1e-6
    policies = compared["policies"]
    assert policies["capped"]["saving_vs_capped"] == 0.0
    for policy in policies.values():
        assert policy["saving_vs_capped"] == pytest.approx(policies["capped"]["total"] - policy["total"])
        assert {"energy", "demand", "workload"} <= set(policy["cost"]) and "import_excursion_s" in policy["limits"]


def test_the_report_stands_alone(finished: Path):
    page = (finished / "report.html").read_text()
    assert page.count("<svg") >= 6
    assert "http" not in page and "<script" not in page
    for words in ("Import against its limit", "Dispatch and price", "Stored energy and reserve", "Forecast fan", "What does not flatter"):
        assert words in page


def test_nothing_done_is_exactly_the_plant(tmp_path: Path):
    world = build_world(load_scenario(made.write_scenario(tmp_path, 0.5)), 7)
    result, table = execute(tmp_path / "scenario.yaml", "none", tmp_path)
    plant = Plant(world.site, 7)
    plant.step(5.0, made.START - timedelta(seconds=5), world.part(-1, 1)[0], float(world.temp_c[0]))
    rows = zip(world.rows(), world.temp_c.tolist(), strict=True)
    truth = [plant.step(5.0, made.START + timedelta(seconds=5 * i), demand, temp).poc_kw for i, (demand, temp) in enumerate(rows)]
    assert table["poc_kw"].tolist() == truth
    assert (result["service"]["deferred_kwh"], result["cost"]["workload"], result["energy"]["charge_kwh"]) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("policy", ["capped", "rules", "plan"])
def test_a_guarded_policy_holds_a_limit_that_the_load_crosses(tmp_path: Path, policy: str):
    path = made.write_scenario(tmp_path, 1.0, overrides="{point_of_connection: {import_limit_kw: 1100}}")
    unguarded, _ = execute(path, "none", tmp_path)
    guarded, table = execute(path, policy, tmp_path)
    assert unguarded["limits"]["import_excursion_s"] > 300
    assert guarded["limits"]["import_excursion_s"] <= 10
    assert guarded["limits"]["reserve_shortfall_s"] == 0
    assert (table["limit_kw"] == 1100).all()


def test_one_seed_gives_one_result_whatever_the_jobs_and_another_seed_another(tmp_path: Path):
    path = made.write_scenario(tmp_path, 0.25)
    assert replay(path, tmp_path / "one", ["capped", "plan"], [7, 8], 1) == 0
    assert replay(path, tmp_path / "two", ["capped", "plan"], [7, 8], 2) == 0
    for part in ("capped/seed-7", "capped/seed-8", "plan/seed-7", "plan/seed-8"):
        for name in ("timeseries.parquet", "decisions.jsonl"):
            assert (tmp_path / "one" / part / name).read_bytes() == (tmp_path / "two" / part / name).read_bytes(), f"{part}/{name}"
    series = [pd.read_parquet(tmp_path / "one" / "capped" / f"seed-{seed}" / "timeseries.parquet")["it_kw"] for seed in (7, 8)]
    assert not np.allclose(*series)
    compared = json.loads((tmp_path / "one" / "comparison.json").read_text())
    assert set(compared["seeds"]) == {"7", "8"}


def test_slow_control_steps_keep_the_plant_at_five_seconds(tmp_path: Path):
    result, table = execute(made.write_scenario(tmp_path, 1.0, control_step_s="30"), "capped", tmp_path)
    assert len(table) == 120 and result["limits"]["resolution_s"] == 5.0
    assert result["control"]["cycles"] == 120 and result["simulated_s"] == 3600.0
    assert result["control"]["silent_reads_and_writes"] == result["control"]["refused_writes"] == 0


def test_a_replay_across_midnight_and_a_new_month_bills_both_months(tmp_path: Path):
    start = datetime(2024, 9, 1, 4, 30, tzinfo=UTC)  # 23:30 on 31 August in Chicago
    result, table = execute(made.write_scenario(tmp_path, 1.0, start), "capped", tmp_path)
    quarters = table.set_index("time")["import_kw"].resample("15min").mean()
    expected = 12.0 * (quarters[quarters.index < "2024-09-01T05:00Z"].max() + quarters[quarters.index >= "2024-09-01T05:00Z"].max())
    assert result["cost"]["demand"] == pytest.approx(expected)
    assert result["peak"]["import_kw"] == pytest.approx(quarters.max())


@pytest.mark.parametrize("start", [datetime(2024, 11, 3, 6, 30, tzinfo=UTC), datetime(2024, 3, 10, 7, 30, tzinfo=UTC)])
def test_a_change_of_clocks_inside_the_window_changes_nothing_in_utc(tmp_path: Path, start: datetime):
    result, table = execute(made.write_scenario(tmp_path, 1.0, start), "plan", tmp_path)
    assert (table["time"].diff().dropna() == pd.Timedelta(seconds=5)).all()
    assert result["planner"]["fallbacks"] == 0


def test_the_peak_so_far_is_paid_even_when_the_window_stays_below_it(tmp_path: Path):
    result, _ = execute(made.write_scenario(tmp_path, 0.5, peak_so_far_kw="1360"), "rules", tmp_path)
    assert result["cost"]["demand"] == pytest.approx(12.0 * 1360)


def test_an_event_lowers_the_limit_while_it_is_in_force(tmp_path: Path):
    start, end = made.START + timedelta(minutes=20), made.START + timedelta(minutes=40)
    event = f"{{notice_at: {made.START.isoformat()}, start: {start.isoformat()}, end: {end.isoformat()}, kind: import_limit, kw: 850}}"
    result, table = execute(made.write_scenario(tmp_path, 1.0, events=f"[{event}]"), "plan", tmp_path)
    inside = (table["time"] >= start) & (table["time"] < end)
    assert set(table.loc[inside, "limit_kw"]) == {850.0} and set(table.loc[~inside, "limit_kw"]) == {1370.0}
    assert result["dr"]["events"] == 1
    assert result["limits"]["import_excursion_s"] <= 15
    assert table.loc[inside, "import_kw"].iloc[3:].max() <= 850 * 1.001


@pytest.mark.parametrize("fault", ["silent", "reject", "reboot"])
def test_a_device_fault_is_survived_noted_and_counted(tmp_path: Path, fault: str):
    at = made.START + timedelta(minutes=15)  # when the battery is told something new in every cycle
    faults = f"[{{at: {at.isoformat()}, device: bess-1, fault: {fault}, for_s: 120}}]"
    changes = {"faults": faults, "overrides": "{point_of_connection: {import_limit_kw: 1100}}"}
    result, table = execute(made.write_scenario(tmp_path, 0.5, **changes), "rules", tmp_path)
    assert any(d["kind"] == "fault" for d in lines(tmp_path / "rules" / "decisions.jsonl"))
    assert not table.filter(like="_kw").isna().any().any()
    assert result["limits"]["reserve_shortfall_s"] == 0
    troubled = result["control"]["refused_writes"] if fault == "reject" else result["control"]["silent_reads_and_writes"]
    assert troubled > 0


def test_interrupting_keeps_what_is_finished_and_nothing_half_done(tmp_path: Path):
    out = tmp_path / "out"

    def press(name: str, done: float) -> None:
        if name.startswith("capped") and done > 0.3:
            raise KeyboardInterrupt

    code = run_replay(made.write_scenario(tmp_path, 0.25), out, ["rules", "capped"], [], 1, press, lambda text: None)
    assert code == 130
    assert (out / "rules" / "summary.json").exists() and (out / "comparison.json").exists() and (out / "report.html").exists()
    assert sorted(p.name for p in out.iterdir() if p.is_dir()) == ["rules"]


def test_a_policy_cheaper_than_the_bound_fails_the_replay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    wrong = {"policy": "bound", "seed": 7, "total": 1e9, "cost": {"energy": 1e9}, "solved": True, "gap": 0.0, "wall_s": 0.0}
    monkeypatch.setattr("ems.replay.bound.bound_of", lambda world, progress: wrong)
    said: list[str] = []
    code = run_replay(made.write_scenario(tmp_path, 0.25), tmp_path / "out", ["capped"], [], 1, quiet, said.append)
    assert code == 1
    assert any("cheaper than the bound" in text for text in said)


def test_the_bound_alone_is_told_and_written(tmp_path: Path):
    said: list[str] = []
    assert run_replay(made.write_scenario(tmp_path, 0.25), tmp_path / "out", ["bound"], [], 1, quiet, said.append) == 0
    bound = json.loads((tmp_path / "out" / "comparison.json").read_text())["bound"]
    assert bound["solved"] and said == [next(line for line in said if line.startswith(f"bound {bound['total']:,.0f} USD: energy "))]


def test_an_unusable_data_file_is_one_clear_line_and_exit_2(tmp_path: Path):
    path = made.write_scenario(tmp_path)
    (tmp_path / "rates-a.csv").write_text("t_s,requests_per_s\n0,1\n600,2,3\n")
    said: list[str] = []
    assert run_replay(path, tmp_path / "out", ["none"], [], 1, quiet, said.append) == 2
    assert len(said) == 1 and "rates-a.csv" in said[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_a_folder_of_somebody_else_is_never_replaced(tmp_path: Path, kind: str):
    out = tmp_path / "out"
    out.mkdir()
    theirs = out / "none" / "thesis.tex" if kind == "folder" else out / "none"
    theirs.parent.mkdir(exist_ok=True)
    theirs.write_text("years of work")
    said: list[str] = []
    assert run_replay(made.write_scenario(tmp_path), out, ["none"], [], 1, quiet, said.append) == 2
    assert said == [f"{out / 'none'}: holds something else than an earlier result; name another --out"]
    assert theirs.read_text() == "years of work"


def test_the_same_replay_into_the_same_folder_replaces_the_earlier_result(tmp_path: Path):
    scenario, out = made.write_scenario(tmp_path, 0.5), tmp_path / "out"
    assert [run_replay(scenario, out, ["plan"], [], 1, quiet, lambda text: None) for _ in range(2)] == [0, 0]


def test_a_replay_says_how_much_of_a_trace_lay_below_idle(tmp_path: Path):
    rows = "".join(f"{made.START + timedelta(minutes=5 * i)},{kw}\n" for i, kw in enumerate([200, 400, 400, 400]))
    (tmp_path / "p.csv").write_text("time,power_kw\n" + rows)
    load = "[{cluster: hall-a, trace: {kind: power, path: p.csv}}, {cluster: hall-b, trace: {kind: power, path: p.csv}}]"
    path = made.write_scenario(tmp_path, 0.25, load=load)
    said: list[str] = []
    assert run_replay(path, tmp_path / "out", ["none"], [], 1, quiet, said.append) == 0
    assert "hall-a: 60 of 180 steps of its trace lie below idle_kw and count as idle" in said
    assert not any("hall-b" in line for line in said)
