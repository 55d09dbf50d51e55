"""The forecasts of prices and carbon reach their goals on the last third of real series nobody tuned on."""

from collections.abc import Iterable

import pytest

from ems.forecast.price_scores import Line, ercot_lines, main, marginal_lines, next_day_lines, plain_lines
from ems.forecast.price_series import average_carbon, day_ahead_with_published, ercot_2024, marginal_carbon, nem_victoria


def missed(lines: Iterable[Line]) -> list[str]:
    judged = [line for line in lines if line.is_reached is not None]
    assert judged
    return [f"{line.series} {line.lead} {line.forecaster}: {line.change:+.1%}, {line.goal}" for line in judged if not line.is_reached]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("operator", ["erco", "ciso"])
def test_carbon_an_hour_and_a_day_ahead(data_dir, operator):
    lines = list(plain_lines(average_carbon(data_dir, operator, operator), {1: -0.30, 24: -0.03}))
    assert missed(lines) == []
    assert all(line.measures.is_covered and line.measures.is_covered_q99 for line in lines)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("market, unit, goal", [("de", "EUR/MWh", -0.25), ("pjm", "USD/MWh", -0.15)])
def test_the_next_days_prices(data_dir, market, unit, goal):
    assert missed(next_day_lines(day_ahead_with_published(data_dir, market, unit), goal)) == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_real_time_with_and_without_the_day_ahead_price(data_dir):
    assert missed(ercot_lines(ercot_2024(data_dir))) == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_victoria_an_hour_and_a_day_ahead(data_dir):
    assert missed(plain_lines(nem_victoria(data_dir), {12: -0.08, 288: -0.10})) == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_marginal_carbon_at_every_lead_of_the_provider(data_dir):
    assert missed(marginal_lines(marginal_carbon(data_dir))) == []


def test_the_command_says_in_one_line_what_it_cannot_read(tmp_path, capsys):
    assert main([]) == 2
    assert main([str(tmp_path)]) == 1
    assert "ercot" in capsys.readouterr().err
