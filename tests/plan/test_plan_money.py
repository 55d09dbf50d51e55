"""What a real plan says its charges cost is what the bill engine makes of the plan's own import, minute by minute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

import ems.plan.tariff
from ems.kpi.bills.bill import make_bills
from ems.kpi.bills.metered import Metered
from ems.plan.planner import RAMP_LIMIT, Planner
from ems.plan.tariff import CONTRACT
from ems.plan.tariff_book import TariffBook
from ems.site.load import load_site
from ems.site.tariff import NEXT, TAKEN
from ems.site.tariff_prices import step_prices
from ems.timegrid import interval_columns
from tests.plan.given import plan_inputs
from tests.site.conftest import DEMO

NOW = datetime(2024, 8, 19, 17, 7, tzinfo=UTC)  # 12:07 in Chicago, before the window of the afternoon opens
PEAK = datetime(2024, 8, 19, 22, tzinfo=UTC)
GRAMS = 412.0


class Known:
    """The system peaks in the quarter of an hour at PEAK, surely."""

    def probability(self, now: datetime, starts: Sequence[datetime], duration_h: Sequence[float]) -> np.ndarray:
        return np.array([float(s <= PEAK < s + timedelta(hours=h)) for s, h in zip(starts, duration_h, strict=True)])


@pytest.mark.parametrize(
    ("tariff", "of_the_bill"),
    [
        ("us-tou-demand-ratchet", {"summer on-peak demand": "summer on-peak demand", "facility demand": "facility demand"}),
        ("uk-half-hourly", {"contract capacity": "breach of contract capacity", "carbon": "carbon, average"}),
        ("ercot-real-time-4cp", {"demand": "demand charge"}),
    ],
)
def test_each_charge_of_a_plan_costs_what_its_bill_says(tariff: str, of_the_bill: dict[str, str]) -> None:
    site = load_site(DEMO, {"point_of_connection": {"import_limit_kw": 1450.0}, "tariff": tariff})
    given = plan_inputs(site, NOW)
    horizon, market = given.horizon, given.import_price_per_kwh
    period, export = step_prices(site.tariff, site.time_zone, horizon.starts, horizon.duration_h)
    book = TariffBook(site, Known() if site.tariff.coincident_peak else None)
    inputs = replace(
        given,
        load_q50_kw={name: 1.25 * kw for name, kw in given.load_q50_kw.items()},
        import_price_per_kwh=market * site.tariff.is_market + site.tariff.energy_price_per_kwh + period,
        export_price_per_kwh=np.minimum(export, 0.0),
        commitments=book.commitments(NOW, horizon, lambda windows, days_left: 0.0, np.full(horizon.n, GRAMS)),
    )
    plan = Planner(site).plan(inputs)
    minutes = np.round(np.array(horizon.duration_h) * 60).astype(int)
    rows: dict[str, Any] = {"market_per_kwh": np.repeat(market, minutes)} if site.tariff.is_market else {}
    import_kw = np.repeat(plan.import_kw, minutes)
    metered = Metered(NOW, 1, import_kw, carbon_g_per_kwh=np.full(len(import_kw), GRAMS), **rows)
    (bill,) = make_bills(site.tariff, "USD", site.time_zone, metered)
    assert set(plan.cost) - {"summer on-peak demand", "facility demand"} <= TAKEN | {n + NEXT for n in (CONTRACT, *of_the_bill)}
    billed = {line.name: float(line.amount) for line in bill.lines}
    energy = sum(float(line.amount) for line in bill.lines if line.part == "energy")
    assert plan.cost["energy"] == pytest.approx(energy, abs=0.05)
    free = {c.name: c.baseline_kw[0] * c.up_price[0] for c in inputs.commitments if len(c.baseline_kw) == 1}
    for name, line in of_the_bill.items():
        nothing_more = 0.0 if name == "contract capacity" else free.get(name, 0.0)
        assert billed[line] > 1.0 and plan.cost[name] + nothing_more == pytest.approx(billed[line], rel=1e-4, abs=0.05), (
            name,
            plan.cost,
            billed,
        )
    if site.tariff.coincident_peak is not None:
        at = next(k for k, s in enumerate(horizon.starts) if s <= PEAK < s + timedelta(hours=horizon.duration_h[k]))
        assert plan.cost["coincident peak"] == pytest.approx(67.0 / 4 * plan.import_kw[at], rel=1e-6)


@pytest.mark.parametrize(("interval_min", "metered_kwh"), [(15, 60.0), (15, None), (30, 250.0)])
def test_ramps_of_a_plan_cost_what_its_bill_says_on_the_meters_means(interval_min: int, metered_kwh: float | None) -> None:
    """Up to the hourly steps, where a plan does not know what happens within the hour."""
    ramp = {"free_kw_per_min": 0.001, "price_per_kw": 0.002, "interval_min": interval_min}
    tariff = {"energy": "fixed", "energy_price_per_kwh": 0.05, "demand_price_per_kw_month": 0.0, "ramp": ramp}
    site = load_site(DEMO, {"tariff": tariff, "plan": {"horizon_h": 9}})
    given, book = plan_inputs(site, NOW, seed=4), TariffBook(site)
    horizon = given.horizon
    metered = {} if metered_kwh is None else {interval_min: metered_kwh}
    commitments = book.commitments(NOW, horizon, lambda windows, days_left: 0.0)
    inputs = replace(given, commitments=commitments, interval_energy_kwh=metered)
    plan = Planner(site).plan(inputs)
    hourly = interval_columns(1800) - (interval_min == 15)  # the filler before the hours still has whole half hours
    minutes = np.round(np.array(horizon.duration_h[:hourly]) * 60).astype(int)
    passed_min = NOW.minute % interval_min
    before_kw = plan.import_kw[0] if metered_kwh is None else metered_kwh * 60.0 / max(passed_min, 1)
    if metered_kwh is None:  # what is not metered is taken as the rest of its interval
        first = np.repeat(plan.import_kw[:hourly], minutes)[: interval_min - passed_min]
        before_kw = float(first.mean())
    import_kw = np.r_[np.full(passed_min, before_kw), np.repeat(plan.import_kw[:hourly], minutes)]
    (bill,) = make_bills(site.tariff, "USD", site.time_zone, Metered(NOW - timedelta(minutes=passed_min), 1, import_kw))
    billed = next(float(line.amount) for line in bill.lines if line.name == "ramps")
    late = np.diff(plan.import_kw[hourly - 1 :])
    between_min = 30.0 * (np.array(horizon.duration_h[hourly:]) + np.array(horizon.duration_h[hourly - 1 : -1]))
    between_min[0] = between_min[0] if interval_min == 15 else interval_min
    beyond = 0.002 * float(np.maximum(0.0, np.abs(late) - 0.001 * between_min).sum())
    assert metered_kwh is None or billed > 0.1
    assert plan.cost["ramps"] == pytest.approx(billed + beyond, rel=1e-4, abs=1e-4)


def test_no_charge_may_take_the_name_of_a_part_of_the_plan() -> None:
    names = {value for name, value in vars(ems.plan.tariff).items() if name.isupper() and isinstance(value, str)}
    assert {name for name in names if not name.startswith(", ")} | {RAMP_LIMIT} <= TAKEN
