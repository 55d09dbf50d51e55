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


def write_power(folder: Path, values: list[float | str], name: str = "power_kw") -> str:
    """A trace of 10-min means in p.csv, and the scenario's words for it."""
    rows = [f"{(made.START + timedelta(minutes=10 * i)).isoformat()},{v}" for i, v in enumerate(values)]
    (folder / "p.csv").write_text("\n".join([f"time,{name}", *rows]) + "\n")
    return "kind: power, path: p.csv"


POWER = [400.0 + i for i in range(20)]


@pytest.mark.parametrize(
    ("factor", "scale", "says"),
    [
        (0.001, "", r"load of hall-a: p.csv: 100% of power_kw lie below idle_kw \(270\).* the median is 0.4095 kW.*MW says scale: 1000"),
        (1000.0, "", r"above rating_kw \(1080\).*W is named as power_w"),
        (1.0, ", scale: 0.1", "100% of power_kw"),
        (1.0, ", scale_to_peak_kw: 0.9", "scale_to_peak_kw 0.9"),
    ],
)
def test_a_power_trace_of_another_unit_is_no_idle_site(tmp_path: Path, factor: float, scale: str, says: str):
    with pytest.raises(DataError, match=says):
        demand(tmp_path, write_power(tmp_path, [factor * v for v in POWER]), scale)


def test_a_power_trace_in_watts_or_megawatts_is_read_when_it_says_so(tmp_path: Path):
    watts = demand(tmp_path, write_power(tmp_path, [1000.0 * v for v in POWER], "power_w"))
    megawatts = demand(tmp_path, write_power(tmp_path, [0.001 * v for v in POWER]), ", scale: 1000")
    assert watts.power_kw()[0] == megawatts.power_kw()[0] == 400.0
    assert watts.quality["clipped_at_idle_steps"] == watts.quality["clipped_at_rating_steps"] == 0


def test_power_below_idle_is_counted_in_the_window_and_a_trace_scaled_to_its_peak_may_lie_there_mostly(tmp_path: Path):
    some = demand(tmp_path, write_power(tmp_path, [200.0] * 3 + POWER))
    assert some.quality["clipped_at_idle_steps"] == 3 * 120
    mostly = demand(tmp_path, write_power(tmp_path, [20.0] * 15 + [100.0] * 5), ", scale_to_peak_kw: 900")
    assert mostly.quality["clipped_at_idle_steps"] == 720 * 2


def test_a_hall_that_is_switched_off_is_at_idle_not_at_its_last_value(tmp_path: Path):
    off = demand(tmp_path, write_power(tmp_path, [500.0] * 3 + [0.0] * 15 + [500.0] * 2))
    assert off.power_kw()[359:361].tolist() == [500.0, 270.0]
    assert off.quality["held"] == 0 and off.quality["clipped_at_idle_steps"] == 9 * 120


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([0] * 20, "load of hall-a: .*p.csv: no usable value of power_kw in 20 rows: 20 zero"),
        ([-400.0] * 20, "20 negative"),
        (['"400,5"'] * 20, "20 no number .a decimal comma is none"),
    ],
)
def test_a_power_trace_without_a_value_says_why(tmp_path: Path, values: list[float | str], says: str):
    with pytest.raises(DataError, match=says):
        demand(tmp_path, write_power(tmp_path, values))


def test_a_trace_that_is_zero_nearly_throughout_has_no_peak_to_scale_to(tmp_path: Path):
    with pytest.raises(DataError, match=r"load of hall-a: p.csv: power_kw is zero nearly throughout"):
        demand(tmp_path, write_power(tmp_path, [0.0] * 399 + [500.0]), ", scale_to_peak_kw: 900")


@pytest.mark.parametrize("begins", ["", f", begins_at: {BEGINS}"])
def test_times_in_seconds_since_1970_are_told_as_such(tmp_path: Path, begins: str):
    (tmp_path / "p.csv").write_text("".join(["t_s,power_kw\n", *(f"{1783749600 + 600 * i},{v}\n" for i, v in enumerate(POWER))]))
    with pytest.raises(DataError, match=r"load of hall-a: p.csv: times are numbers .they look like seconds since 1970, from 1783749600 on"):
        demand(tmp_path, f"kind: power, path: p.csv{begins}")


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
