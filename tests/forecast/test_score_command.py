"""`ems forecast score`: one table, a page, and plain words where something is wrong."""

import pytest
from typer.testing import CliRunner

from ems.app.forecasting import forecast_app, score_scenario
from ems.app.wrong_usage import WrongUsage
from ems.errors import EmsError
from ems.forecast.load_results import BEGIN, END, written


def test_a_generated_scenario_is_scored_beside_the_yardsticks_with_a_page(tmp_path):
    page = tmp_path / "page.html"
    result = CliRunner().invoke(forecast_app, ["score", "generated-day", "--forecasters", "linear", "--html", str(page)])
    assert result.exit_code == 0, result.output
    head, *lines = result.output.splitlines()
    for column in ("MAE", "pinball q90", "q10-q90 holds", "q99 holds", "width", "interval score", "CRPS"):
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
