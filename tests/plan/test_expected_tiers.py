"""The peak to expect where its price stands in tiers: the days seen are shaved as they are worth it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from ems.plan.loop import PlanLoop
from ems.site.load import load_site
from tests.plan.given import MONDAY
from tests.plan.test_hours_use import ALL, FALLING
from tests.plan.test_tiered_peaks import RISING
from tests.site.conftest import DEMO

LIMIT_KW = 1450.0


def expected_kw(**tariff: Any) -> float:
    """After two days of the same load."""
    keys = {"energy": "fixed", "energy_price_per_kwh": 0.08, "demand_price_per_kw_month": 0.0, **tariff}
    site = load_site(DEMO, {"point_of_connection": {"import_limit_kw": LIMIT_KW}, "tariff": keys})
    loop = PlanLoop(site)
    for minute in range(48 * 60):
        at = MONDAY - timedelta(minutes=48 * 60 - minute)
        share = 0.52 + 0.33 * np.sin(2 * np.pi * (at.hour + at.minute / 60 - 13) / 24)
        loop.peak.observe(at, 60.0, {c.id: c.idle_kw + (c.peak_kw - c.idle_kw) * float(share) for c in site.clusters})
    return loop.peak.expected_kw(MONDAY, loop.prices, loop.weather)


def test_days_seen_are_shaved_for_the_dear_tier_of_a_peak() -> None:
    flat_kw = expected_kw(demand_charges=[{"name": "facility", "price_per_kw_month": 20.0, "minimum_kw": 1000}])
    assert expected_kw(demand_charges=[{"name": "facility", "tiers": RISING}]) == pytest.approx(flat_kw, abs=1.0)
    assert flat_kw < 0.95 * LIMIT_KW


@pytest.mark.parametrize(("unit", "scale"), [("kwh_per_kw", 1.0), ("kwh_per_kw_day", 1 / 31)])
def test_days_seen_are_shaved_for_the_peak_that_widens_energy_tiers(unit: str, scale: float) -> None:
    tiers = [{**t, **({"up_to": t["up_to"] * scale} if "up_to" in t else {})} for t in FALLING]
    by_tiers_kw = expected_kw(energy="time_of_use", energy_price_per_kwh=0.0, tier_unit=unit, energy_periods=[{**ALL, "tiers": tiers}])
    assert by_tiers_kw < 0.95 * LIMIT_KW
