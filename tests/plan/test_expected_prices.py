"""Which source of prices the plan loop takes, by the tariff."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ems.forecast.price_source import ForecastPrices
from ems.plan.loop import PlanLoop, expected_prices
from tests.plan.given import demo_site


@pytest.mark.parametrize(
    ("energy", "export", "is_forecast"),
    [
        ("real_time", "real_time", True),
        ("indexed", "fixed", False),
        ("real_time", "day_ahead", False),
        ("day_ahead", "fixed", False),
        ("fixed", "fixed", False),
        ("fixed", "real_time", True),
    ],
)
def test_prices_are_forecast_where_the_site_sells_at_a_real_time_market(energy: str, export: str, is_forecast: bool) -> None:
    site = demo_site()
    tariff = replace(site.tariff, energy=energy, export_energy=export)
    assert isinstance(expected_prices(replace(site, tariff=tariff)), ForecastPrices) == is_forecast


def test_the_plan_loop_of_a_site_on_the_market_forecasts_in_the_sites_own_zone() -> None:
    site = demo_site()
    prices = PlanLoop(replace(site, tariff=replace(site.tariff, export_energy="real_time"))).prices
    assert isinstance(prices, ForecastPrices) and prices.time_zone == site.time_zone
