"""Which programme a load can safely join: a steady load may, a training cluster that jumps may not, and each is told why."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ems.app.cli import app
from ems.app.programs import list_line, risk_lines
from ems.program.library import find_program
from ems.program.meter import MeterSeries
from ems.program.risk import Risk, assess
from ems.program.terms import terms_on

START = datetime(2026, 3, 1, tzinfo=UTC)
DAYS = 150


def meter(values: np.ndarray) -> MeterSeries:
    return MeterSeries.of(START, 60, [float(v) for v in values])


def inference_load(noise: float) -> np.ndarray:
    rng = np.random.default_rng(3)
    hours = np.arange(24 * DAYS)
    return 1000.0 + 300.0 * np.sin(2 * np.pi * hours / 24) + rng.normal(0.0, noise, len(hours))


def training_load() -> np.ndarray:
    """Jobs of 4 to 48 hours at levels far apart."""
    rng = np.random.default_rng(4)
    parts = [np.full(int(rng.integers(4, 48)), rng.uniform(400.0, 2000.0)) for _ in range(600)]
    return np.concatenate(parts)[: 24 * DAYS]


def risk(program: str, values: np.ndarray, reduction_kw: float = 200.0) -> Risk:
    return assess(terms_on(find_program(program, Path("x.yaml")), date(2026, 7, 1)), meter(values), reduction_kw)


def test_a_steady_load_is_safe_under_a_day_matching_baseline():
    found = risk("pjm-economic", inference_load(5.0))
    assert found.verdict == "safe" and found.accuracy is not None
    assert found.accuracy.rrmse < 0.02 and found.chance_short == 0.0


def test_a_training_cluster_is_refused_by_the_programmes_own_test():
    found = risk("pjm-economic", training_load())
    assert found.verdict == "unsafe" and "refused by its own test" in found.why


def test_a_training_cluster_is_measured_short_though_it_delivered():
    found = risk("caiso-pdr", training_load())
    assert found.verdict == "unsafe"
    assert found.accuracy is not None and found.accuracy.rrmse > 0.1 and found.chance_short is not None


def test_an_hourly_meter_cannot_judge_a_half_hourly_programme():
    found = risk("neso-dfs", inference_load(5.0), 1000.0)
    assert found.verdict == "unknown" and "do not fit 30 min" in found.why


def test_dropping_to_a_level_needs_no_day_that_is_alike():
    assert risk("pge-bip", training_load()).verdict == "safe"
    assert risk("ercot-4cp", training_load()).verdict == "safe"


def test_a_reduction_under_the_smallest_size_does_not_fit():
    found = risk("neso-dfs", inference_load(5.0), 200.0)
    assert found.verdict == "unsafe" and "takes 1000 kW at least" in found.why


def test_too_short_a_history_is_unknown_not_safe():
    assert risk("caiso-pdr", inference_load(5.0)[: 24 * 12]).verdict == "unknown"


def test_an_order_for_large_loads_does_not_bind_a_small_one():
    found = risk("texas-sb6", inference_load(5.0))
    assert found.verdict == "unsafe" and "is for loads from 75000 kW" in found.why
    assert risk("texas-sb6", 100.0 * inference_load(5.0)).verdict == "safe"


@pytest.mark.parametrize("values", [np.full(23, 1000.0), np.full(0, 1000.0)], ids=["23 h", "nothing"])
def test_without_a_day_of_history_no_number_is_made_up(values: np.ndarray):
    lines = list(risk_lines(meter(values), None, "2026-07-01"))
    assert "mean unknown, reduction unknown" in lines[0]
    whys = {line.split()[0]: line for line in lines[2:]}
    for name in ("neso-dfs", "pge-bip", "caiso-pdr", "texas-sb6"):
        assert " unknown " in whys[name] and "less than a day of history" in whys[name]


def test_noise_makes_a_safe_programme_doubtful_before_it_makes_it_unsafe():
    order = {"safe": 0, "doubtful": 1, "unsafe": 2}
    verdicts = [order[risk("caiso-pdr", inference_load(noise), 100.0).verdict] for noise in (1.0, 12.0, 60.0)]
    assert verdicts == sorted(verdicts) and verdicts[0] == 0 and verdicts[-1] == 2


def test_risk_on_the_command_line(tmp_path):
    values = inference_load(5.0)
    rows = [f"{np.datetime64('2026-03-01T00:00') + np.timedelta64(n, 'h')}Z,{v:.1f}" for n, v in enumerate(values)]
    rows[5] = rows[5].split(",")[0] + ","
    path = tmp_path / "meter.csv"
    path.write_text("time,kw\n" + "\n".join(rows))
    result = CliRunner().invoke(app, ["programs", "risk", "--meter", str(path), "--on", "2026-07-01"])
    assert result.exit_code == 0, result.exception
    lines = {line.split()[0]: line for line in result.output.splitlines()}
    assert "0.0% missing" in result.output and "safe" in lines["pjm-economic"] and "pjm_4of5" in lines["pjm-economic"]


def test_a_table_without_power_is_one_clear_line(tmp_path):
    path = tmp_path / "meter.csv"
    path.write_text("time,volts\n2026-03-01T00:00Z,230\n")
    result = CliRunner().invoke(app, ["programs", "risk", "--meter", str(path)])
    assert "expected a time column" in str(result.exception)


def test_before_its_first_rules_a_programme_has_none_instead_of_a_minimum_of_zero():
    file, first = find_program("neso-dfs", Path("x.yaml")), date(2022, 11, 1)  # the minimum came two years later
    before, after, now = (list_line(file, day) for day in (first - timedelta(days=1), first, date(2026, 7, 1)))
    assert "no rules on 2022-10-31: its first hold from 2022-11-01" in before
    assert after.split()[2:4] == ["-", "-"] and now.split()[2:4] == ["360", "1000"]
    [line] = [x for x in risk_lines(meter(inference_load(5.0)), 200.0, "2022-10-31") if x.startswith("neso-dfs")]
    assert " unknown " in line and "no rules on 2022-10-31" in line


@pytest.mark.parametrize("text", ["tomorrow", "2026-13-01"])
def test_a_day_that_is_none_is_wrong_usage(text):
    result = CliRunner().invoke(app, ["programs", "list", "--on", text])
    assert "expected a day" in str(result.exception)


def test_nothing_to_judge_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words.csv").write_text("time,kw\n2024-01-01T00:00:00Z,much\n2024-01-01T00:15:00Z,more\n")
    for more, says in (
        (["--state-dir", str(tmp_path / "none")], "unknown: the history holds no minute"),
        (["--meter", "words.csv"], "no row holds a power"),
        (["--meter", "words.csv", "--time-zone", "Foo/Bar"], "expected a zone"),
    ):
        result = CliRunner().invoke(app, ["programs", "risk", *more])
        assert result.exit_code != 0 and says in str(result.exception)
    assert not (tmp_path / "none").exists(), "asking makes no history"
