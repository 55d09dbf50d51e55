"""What a tariff's charges remember survives a restart of the planner: ratchets, windows, the month's energy and its money."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from ems.plan.loop import PlanLoop
from ems.plan.minimum_bill import MonthMoney
from ems.plan.tariff_book import TariffBook
from ems.plan.tariff_memory import decode_memory
from ems.site.load import load_site
from tests.plan.given import plan_inputs
from tests.site.conftest import DEMO

BEGIN = datetime(2024, 7, 20, 5, tzinfo=UTC)
RESTART_H, DAYS, KEPT_D = 24 * 10 + 7, 14, 4
QUARTER = timedelta(minutes=15)
WINDOW = {"name": "afternoon", "price_per_kw_month": 9.0, "when": [{"hours": [14, 20]}], "interval_min": 30}
ALL = {"name": "all", "price_per_kw_month": 4.0, "ratchet": {"share": 0.8, "months": 11}}
SITE = load_site(DEMO, {"tariff": {"energy": "fixed", "energy_price_per_kwh": 0.05, "demand_charges": [WINDOW, ALL]}})


def quarters(first_h: float, last_h: float) -> list[tuple[datetime, float]]:
    """Five days of up to 1,300 kW, then a quieter time of up to 900."""
    kw = np.random.default_rng(3).uniform(300.0, 1300.0, DAYS * 96) * np.where(np.arange(DAYS * 96) < 5 * 96, 1.0, 0.69)
    return [(BEGIN + QUARTER * k, float(kw[k])) for k in range(round(first_h * 4), round(last_h * 4))]


def told(book: TariffBook, rows: list[tuple[datetime, float]]) -> TariffBook:
    for start, kw in rows:
        book.observe(start, 900.0, kw)
    return book


def test_a_planner_that_was_restarted_knows_what_one_that_was_not_knows() -> None:
    never = told(TariffBook(SITE), quarters(0, DAYS * 24))
    before = told(TariffBook(SITE), quarters(0, RESTART_H))
    after = TariffBook(SITE)
    after.remember(decode_memory(json.loads(json.dumps(before.memory().encode()))))
    told(after, quarters(RESTART_H - KEPT_D * 24, DAYS * 24))
    forgot = told(TariffBook(SITE), quarters(RESTART_H - KEPT_D * 24, DAYS * 24))
    assert after.memory() == never.memory() != forgot.memory()
    now = BEGIN + timedelta(days=DAYS)
    horizon = plan_inputs(SITE, now).horizon
    bills, wrong = ({c.name: c.baseline_kw for c in book.commitments(now, horizon, lambda hours, days: 0.0)} for book in (after, forgot))
    assert bills["all"] == (pytest.approx(0.8 * 1300.0, rel=0.01),) and wrong["all"] < (900.0,)  # the ratchet of July


def test_peaks_that_the_page_names_stay_beside_those_remembered() -> None:
    named = replace(
        SITE, tariff=load_site(DEMO, {"tariff": {"demand_charges": [ALL], "past_peaks_kw": {"2024-05": {"all": 1400.0}}}}).tariff
    )
    book = TariffBook(named)
    book.remember(told(TariffBook(SITE), quarters(0, 48)).memory())
    assert book.peaks_kw["all"][12 * 54 + 4] == 1400.0 and book.peaks_kw["all"][12 * 54 + 6] > 1000.0


def test_the_money_of_the_month_is_not_counted_twice() -> None:
    site = load_site(DEMO, {"tariff": {"minimum_charge_per_month": 5e5}})
    before, after = MonthMoney(site), MonthMoney(site)
    for start, kw in quarters(24 * 12, 24 * 14):
        before.observe(start, 900.0, kw, 0.1)
    after.remember(json.loads(json.dumps(before.memory())))
    for start, kw in quarters(24 * 12, 24 * 14):
        after.observe(start, 900.0, kw, 0.1)
    horizon = plan_inputs(site, BEGIN + timedelta(days=14)).horizon
    assert after.left(horizon, ()) == before.left(horizon, ()) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"until": "2024-08-01T00:00"},
        {"month_kwh": {"654": float("nan")}},
        {"peaks_kw": {"all": [1]}},
        {"running": {"15": [1]}},
        {"month_h": -1},
    ],
)
def test_a_memory_that_cannot_be_is_refused_and_changes_nothing(change: dict[str, Any]) -> None:
    loop = PlanLoop(SITE)
    told(loop.book, quarters(0, 24))
    kept = loop.memory()
    assert kept is not None
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        loop.remember({**kept, "book": {**kept["book"], **change}})
    assert loop.memory() == kept


def test_a_plain_tariff_has_nothing_to_remember() -> None:
    assert PlanLoop(load_site(DEMO)).memory() is None
