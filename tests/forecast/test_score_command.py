"""`ems forecast score`: one table, a page, and plain words where something is wrong."""

import numpy as np
import pytest
from typer.testing import CliRunner

from ems.app.forecasting import forecast_app, score_scenario
from ems.app.wrong_usage import WrongUsage
from ems.errors import EmsError
from ems.forecast.evaluate import Issued, Series, peaks_ahead, score_issued
from ems.forecast.load_results import BEGIN, END, written
from ems.forecast.load_results import main as results_main
from ems.forecast.protocol import LEVELS
from ems.forecast.score import main as score_main


def test_a_generated_scenario_is_scored_beside_the_yardsticks_with_a_page(tmp_path):
    page = tmp_path / "page.html"
    result = CliRunner().invoke(forecast_app, ["score", "generated-day", "--forecasters", "linear", "--html", str(page)])
    assert result.exit_code == 0, result.output
    head, *lines = result.output.splitlines()
    for column in ("MAE", "pinball q90", "q10-q90 holds", "q99 holds", "width", "interval score", "CRPS", "peak q95 holds"):
        assert column in head
    assert any(line.startswith("hall-a") and "linear" in line for line in lines)
    assert any("persistence (own errors)" in line for line in lines)
    text = page.read_text()
    assert text.count("<svg") > 8 and "Reliability" in text and "<script" not in text and "http" not in text


def test_a_forecaster_nobody_knows_is_named():
    with pytest.raises(WrongUsage, match="--forecasters magic: expected some of persistence"):
        score_scenario("generated-day", None, "magic", None)


def test_a_page_that_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(EmsError, match="cannot be written"):
        score_scenario("generated-day", tmp_path / "absent" / "page.html", "fallback", None)


def test_the_section_of_a_document_is_replaced_and_the_rest_left_alone():
    once = written("# Title\n\nother\n", "first")
    twice = written(once + "\nafter\n", "second")
    assert "other" in twice and "after" in twice and "second" in twice and "first" not in twice
    assert twice.count(BEGIN) == twice.count(END) == 1


@pytest.mark.parametrize("main", [score_main, results_main])
def test_the_commands_behind_the_tables_answer_in_plain_words(main, tmp_path, capsys):
    with pytest.raises(SystemExit) as told:
        main(["--help"])
    assert told.value.code == 0 and "data_dir" in capsys.readouterr().out
    with pytest.raises(SystemExit) as told:
        main([])
    assert told.value.code == 2
    assert main([str(tmp_path)]) == 1
    error = capsys.readouterr().err.splitlines()
    assert "servegen" in error[-1] and "Traceback" not in "".join(error)


def test_a_peak_holds_when_the_highest_of_the_window_stays_below():
    assert peaks_ahead(np.array([1.0, 5.0, 2.0, np.nan, 3.0]), 2) == pytest.approx([5.0, 5.0, np.nan, np.nan, np.nan, np.nan], nan_ok=True)
    issued = Issued(np.array([1, 2]), np.full((601, len(LEVELS), 2), 0.5))
    values = np.tile([0.0, 1.0, 0.0, 0.0], 150)
    issued.values[:, LEVELS.index(0.95) :, 0] = 2.0
    rows = score_issued(Series("s", values, 600.0, "kW"), {"ours": issued}, [600.0, 1200.0])
    assert [row.peak_holds for row in rows if row.forecaster == "ours"] == [1.0, 1.0]
    issued.values[:, :, 0] = 0.5
    rows = score_issued(Series("s", values, 600.0, "kW"), {"ours": issued}, [600.0, 1200.0])
    assert [row.peak_holds for row in rows if row.forecaster == "ours"] == pytest.approx([0.75, 0.5], abs=0.02)
