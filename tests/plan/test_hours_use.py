"""Energy tiers per kW of the month's peak: one kW more of it costs the plan what it costs on the bill."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from ems.commitment import Commitment
from ems.kpi.bills.bill import make_bills
from ems.kpi.bills.metered import Metered
from ems.plan.loop import PlanLoop
from ems.plan.minimum_bill import MonthMoney
from ems.plan.plan import Plan
from ems.plan.tariff import NEXT, TIER_PEAK, peak_names
from ems.plan.tariff_book import TariffBook
from ems.plan.tariff_memory import decode_memory
from ems.site.load import load_site
from ems.site.model import Site
from ems.site.tariff_prices import step_prices
from tests.plan.given import highest_kw, plan_inputs, tight_plan
from tests.plan.test_loop import state
from tests.site.conftest import DEMO

AUGUST = datetime(2024, 8, 1, 5, tzinfo=UTC)  # midnight in Chicago
NOW = AUGUST + timedelta(days=18, hours=12)
HOURS, MONTH_H = 444, 744
MEAN_KW, PEAK_KW = 850.0, 1000.0


def tiers(*ends_and_prices: float) -> list[dict[str, float]]:
    """`0.12, 200, 0.07`: 0.12 per kWh up to 200, 0.07 above."""
    prices, ends = ends_and_prices[::2], ends_and_prices[1::2]
    return [{"up_to": end, "price_per_kwh": price} for end, price in zip(ends, prices, strict=False)] + [{"price_per_kwh": prices[-1]}]


FALLING = tiers(0.12, 200.0, 0.07, 400.0, 0.03)
ALL = {"name": "all", "rest": True}
SUMMER, WEEKDAYS = {"months": [6, 7, 8, 9]}, {"months": [6, 7, 8, 9], "days": "weekdays", "hours": [8, 20]}
SEASONS = [{"name": "summer", "when": [SUMMER], "tiers": tiers(0.1, 300.0, 0.04)}, {**ALL, "tiers": tiers(0.5, 100.0, 0.01)}]
BY_DAY = [{"name": "day", "when": [WEEKDAYS], "tiers": tiers(0.2, 300.0, 0.1, 700.0, 0.05)}, {**ALL, "tiers": FALLING}]


def site_with(periods: list[dict[str, Any]], tier_unit: str = "kwh_per_kw", **more: Any) -> Site:
    keys = {"energy": "time_of_use", "tier_unit": tier_unit, "demand_price_per_kw_month": 0.0, "energy_periods": periods, **more}
    return load_site(DEMO, {"point_of_connection": {"import_limit_kw": 1450.0}, "tariff": keys})


def month_kw() -> np.ndarray:
    """Hourly means of a month that comes to MEAN_KW, its peak of PEAK_KW behind us."""
    kw = np.full(MONTH_H, MEAN_KW)
    kw[100], kw[101] = PEAK_KW, 2 * MEAN_KW - PEAK_KW
    return kw


def book_of(site: Site) -> TariffBook:
    """At NOW."""
    book = TariffBook(site)
    for k, kw in enumerate(np.repeat(month_kw()[:HOURS], 4).tolist()):
        book.observe(AUGUST + timedelta(minutes=15 * k), 900.0, kw)
    return book


def nothing_expected(windows: object, days_left: float) -> float:
    return 0.0


def tier_peak(site: Site, book: TariffBook) -> Commitment:
    priced = book.commitments(NOW, plan_inputs(site, NOW).horizon, nothing_expected)
    assert {c.name for c in priced} == set(peak_names(site.tariff)) == {TIER_PEAK, TIER_PEAK + NEXT}
    return priced[0]


def bill(site: Site, kw: np.ndarray) -> float:
    return float(make_bills(site.tariff, "USD", site.time_zone, Metered(AUGUST, 60, kw))[0].part("energy"))


def with_hours(*kw: float) -> np.ndarray:
    """The month with other hours to come."""
    out = month_kw()
    out[HOURS + 5 : HOURS + 5 + len(kw)] = kw
    return out


@pytest.mark.parametrize(
    ("periods", "unit"),
    [
        ([{**ALL, "tiers": FALLING}], "kwh_per_kw"),
        ([{**ALL, "tiers": tiers(0.12, 6.0, 0.07, 13.0, 0.03)}], "kwh_per_kw_day"),
        ([{**ALL, "tiers": tiers(0.12, 200.0, 0.07, 800.0, 0.03)}], "kwh_per_kw"),  # the last tier is not reached
        ([{**ALL, "tiers": tiers(0.03, 200.0, 0.12, 400.0, 0.05)}], "kwh_per_kw"),  # dearer, then cheaper
        (SEASONS, "kwh_per_kw"),  # winter's tiers count nothing in August
        (BY_DAY, "kwh_per_kw"),  # each period by its share of the month
    ],
)
def test_a_kw_more_of_the_peak_costs_the_plan_what_it_costs_on_the_bill(periods: list[dict[str, Any]], unit: str) -> None:
    site = site_with(periods, unit)
    peak = tier_peak(site, book_of(site))
    more_kw = 30.0  # for an hour, taken back in the next, so that the month's energy is the same
    up, flat = with_hours(PEAK_KW + more_kw, 2 * MEAN_KW - PEAK_KW - more_kw), with_hours(PEAK_KW, 2 * MEAN_KW - PEAK_KW)
    assert peak.baseline_kw == (pytest.approx(PEAK_KW),)
    assert peak.up_price[0] * more_kw == pytest.approx(bill(site, up) - bill(site, flat), rel=0.01, abs=0.02)


def test_the_price_of_a_kwh_is_that_of_the_tier_by_the_peak_not_by_the_mean() -> None:
    site = site_with([{**ALL, "tiers": tiers(0.12, 200.0, 0.07, 700.0, 0.03)}])  # 632 h of the peak, 744 h of the mean
    horizon = plan_inputs(site, NOW).horizon
    month_kwh = book_of(site).tier_kwh(NOW, nothing_expected)
    step = step_prices(site.tariff, site.time_zone, horizon.starts, horizon.duration_h, month_kwh)[0]
    assert np.allclose(step, bill(site, with_hours(MEAN_KW + 1.0)) - bill(site, with_hours(MEAN_KW)), atol=1e-4)


def test_where_a_higher_peak_saves_money_it_has_no_price() -> None:
    site = site_with([{**ALL, "tiers": tiers(0.03, 400.0, 0.12)}])
    assert bill(site, with_hours(PEAK_KW + 1.0)) < bill(site, with_hours(PEAK_KW))
    assert tier_peak(site, book_of(site)).up_price == (0.0,)


def test_before_the_month_is_known_the_peak_has_no_price_and_a_restart_forgets_none_of_it() -> None:
    site = site_with([{**ALL, "tiers": FALLING}])
    assert tier_peak(site, TariffBook(site)).up_price == (0.0,)
    again = TariffBook(site)
    again.remember(decode_memory(json.loads(json.dumps(book_of(site).memory().encode()))))
    assert tier_peak(site, again) == tier_peak(site, book_of(site))


def plan_of(site: Site, book: TariffBook) -> Plan:
    horizon = plan_inputs(site, NOW).horizon
    price, _ = step_prices(site.tariff, site.time_zone, horizon.starts, horizon.duration_h, book.tier_kwh(NOW, nothing_expected))
    return tight_plan(site, NOW, price, book.commitments(NOW, horizon, nothing_expected))


def test_a_plan_shaves_the_peak_that_widens_the_tiers() -> None:
    of_peak, of_month = site_with([{**ALL, "tiers": FALLING}]), site_with([{**ALL, "tiers": tiers(0.12, 200e3, 0.07, 400e3, 0.03)}], "kwh")
    plan, without = plan_of(of_peak, book_of(of_peak)), plan_of(of_month, book_of(of_month))
    assert highest_kw(plan) < highest_kw(without) - 100.0
    assert plan.cost[TIER_PEAK] == pytest.approx(26.0 * (highest_kw(plan) - PEAK_KW), rel=0.01)
    assert any(f"lets {TIER_PEAK} rise from 1,000" in line for line in plan.lines)


def test_the_minimum_bill_counts_the_energy_of_the_dearer_tiers() -> None:
    minimum = 100_000.0
    site = site_with([{**ALL, "tiers": FALLING}], minimum_charge_per_month=minimum)
    book, money, horizon = book_of(site), MonthMoney(site), plan_inputs(site, NOW).horizon
    money.observe(AUGUST, 3600.0 * HOURS, MEAN_KW, 0.03)
    inside_h = sum(horizon.duration_h)
    assert money.left(horizon, [tier_peak(site, book)]) == pytest.approx(
        minimum - bill(site, month_kw()) + 0.03 * MEAN_KW * inside_h, abs=1.0
    )


def test_the_loop_expects_no_lower_peak_than_it_pays_for() -> None:
    loop = PlanLoop(site_with([{**ALL, "tiers": FALLING}]))
    loop.book = book_of(loop.site)
    inputs = loop.make_inputs(NOW, state())
    peak = next(c for c in inputs.commitments if c.name == TIER_PEAK)
    guess_kw = 0.86 * 1450.0  # no day of load seen: 507 h of use, still in the last tier
    assert (peak.baseline_kw, peak.up_price) == ((pytest.approx(guess_kw),), (pytest.approx(26.0),))
    assert set(np.round(inputs.import_price_per_kwh, 9)) == {0.03}
