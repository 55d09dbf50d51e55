"""What a real plan says its charges cost is what the bill engine makes of the plan's own import, minute by minute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from ems.kpi.bills.bill import make_bills
from ems.kpi.bills.metered import Metered
from ems.plan.planner import Planner
from ems.plan.tariff_book import TariffBook
from ems.site.load import load_site
from ems.site.tariff_prices import step_prices
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
        commitments=book.commitments(NOW, horizon, lambda windows: 0.0, np.full(horizon.n, GRAMS)),
    )
    plan = Planner(site).plan(inputs)
    minutes = np.round(np.array(horizon.duration_h) * 60).astype(int)
    rows: dict[str, Any] = {"market_per_kwh": np.repeat(market, minutes)} if site.tariff.is_market else {}
    import_kw = np.repeat(plan.import_kw, minutes)
    metered = Metered(NOW, 1, import_kw, carbon_g_per_kwh=np.full(len(import_kw), GRAMS), **rows)
    (bill,) = make_bills(site.tariff, "USD", site.time_zone, metered)
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
