"""From traces to cluster power: the scale, the inside of windows, skipping, and where a trace does not reach."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from ems.errors import DataError
from ems.replay.demand import ClusterDemand, read_demand
from ems.replay.scenario import load_scenario
from tests.replay import made

BEGINS = (made.START - timedelta(hours=48)).isoformat()


def demand(folder: Path, trace: str, extra: str = "", hours: float = 2.0, seed: int = 7) -> ClusterDemand:
    """hall-a's demand; hall-b keeps its own."""
    other = f"{{cluster: hall-b, trace: {{kind: rates, path: rates-b.csv, begins_at: {BEGINS}}}}}"
    path = made.write_scenario(folder, hours, load=f"[{{cluster: hall-a, trace: {{{trace}}}{extra}}}, {other}]")
    return read_demand(load_scenario(path), seed)["hall-a"]


RATES = f"kind: rates, path: rates-a.csv, begins_at: {BEGINS}"


def test_power_is_idle_plus_the_share_of_the_99_5th_percentile_of_the_whole_file(tmp_path: Path):
    got = demand(tmp_path, RATES, ", scale_to_peak_kw: 900")
    rate = made.rates(51, seed=1)
    expected = 270.0 + 630.0 * np.round(rate, 4) / np.percentile(np.round(rate, 4), 99.5)
    assert got.power_kw()[got.starts_at :: 120] == pytest.approx(expected[48 * 6 : 50 * 6])


def test_the_scale_is_taken_before_the_skip(tmp_path: Path):
    whole = demand(tmp_path, RATES, ", scale_to_peak_kw: 900")
    skipped = demand(tmp_path, RATES + ", skip_s: 3600", ", scale_to_peak_kw: 900")
    assert skipped.power_kw()[: 47 * 720].tolist() == whole.power_kw()[720 : 48 * 720].tolist()


def test_the_part_above_idle_is_split_by_the_shares_of_the_classes(tmp_path: Path):
    got = demand(tmp_path, RATES)
    above = got.power_kw() - 270.0
    assert got.class_kw["interactive"] == pytest.approx(0.4 * above)
    assert got.class_kw["training"] == pytest.approx(0.2 * above)


def test_a_texture_changes_the_inside_of_each_window_and_keeps_its_mean(tmp_path: Path):
    rng = np.random.default_rng(3)
    (tmp_path / "t.csv").write_text("t_s,requests\n" + "\n".join(f"{10 * i},{v}" for i, v in enumerate(rng.poisson(30, 200))) + "\n")
    flat = demand(tmp_path, RATES, ", scale_to_peak_kw: 600")
    textured = demand(tmp_path, RATES + ", within_window: {texture: t.csv, column: requests, step_s: 10}", ", scale_to_peak_kw: 600")
    windows = [d.power_kw().reshape(-1, 120) for d in (flat, textured)]
    assert windows[1].mean(axis=1) == pytest.approx(windows[0].mean(axis=1))
    assert windows[1].std(axis=1).min() > 5.0
    assert textured.quality["texture_windows"] == 3


def test_generated_arrivals_are_labelled_seeded_and_keep_each_windows_mean(tmp_path: Path):
    flat = demand(tmp_path, RATES)
    one, again, other = (demand(tmp_path, RATES + ", within_window: gamma", seed=seed) for seed in (7, 7, 8))
    assert one.quality["generated_arrivals"] == 1
    assert one.power_kw().tolist() == again.power_kw().tolist() != other.power_kw().tolist()
    assert one.power_kw().reshape(-1, 120).mean(axis=1) == pytest.approx(flat.power_kw().reshape(-1, 120).mean(axis=1), rel=0.02)


def test_measured_power_is_scaled_to_the_peak_or_by_a_factor(tmp_path: Path):
    rows = "\n".join(f"{(made.START + timedelta(minutes=10 * i)).isoformat()},{400 + i}" for i in range(20))
    (tmp_path / "p.csv").write_text("time,power_kw\n" + rows + "\n")
    plain = demand(tmp_path, "kind: power, path: p.csv").power_kw()
    assert plain[0] == 400.0
    assert demand(tmp_path, "kind: power, path: p.csv", ", scale: 1.5").power_kw()[0] == 600.0
    assert demand(tmp_path, "kind: power, path: p.csv", ", scale_to_peak_kw: 838").power_kw()[0] == pytest.approx(800.0, rel=1e-3)


def test_a_trace_that_ends_long_before_the_window_is_an_error_unless_it_repeats(tmp_path: Path):
    with pytest.raises(DataError, match="repeat: true"):
        demand(tmp_path, f"{RATES}, skip_s: 21600")
    repeated = demand(tmp_path, f"{RATES}, skip_s: 21600, repeat: true")
    assert repeated.quality["repeats"] == 1


def test_a_trace_that_begins_after_the_window_is_an_error(tmp_path: Path):
    with pytest.raises(DataError, match="begins"):
        demand(tmp_path, RATES.replace(BEGINS, (made.START + timedelta(hours=2)).isoformat()))


def test_a_trace_without_dates_must_be_told_when_it_begins(tmp_path: Path):
    with pytest.raises(DataError, match="begins_at"):
        demand(tmp_path, "kind: rates, path: rates-a.csv")


def test_an_announced_job_is_training_on_top_of_the_trace(tmp_path: Path):
    begin, end = made.START + timedelta(minutes=30), made.START + timedelta(minutes=60)
    job = f"[{{cluster: hall-a, announced_at: {BEGINS}, start: {begin.isoformat()}, end: {end.isoformat()}, kw: 50}}]"
    plain = read_demand(load_scenario(made.write_scenario(tmp_path)), 7)["hall-a"]
    with_job = read_demand(load_scenario(made.write_scenario(tmp_path, jobs=job)), 7)["hall-a"]
    added = (with_job.class_kw["training"] - plain.class_kw["training"])[plain.starts_at :]
    assert added[:360].max() == 0.0
    assert added[360:720] == pytest.approx(np.full(360, 50.0))
    assert added[720:].max() == 0.0
