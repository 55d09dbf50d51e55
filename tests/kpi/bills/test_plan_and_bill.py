"""The plan's prices, a replay's ledger and the bill engine speak of the same money, for tariffs drawn at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ems.commitment import Per
from ems.horizon import Horizon
from ems.kpi.bills.bill import make_bills
from ems.kpi.bills.lines import CARBON, DEMAND, ENERGY
from ems.kpi.bills.metered import Metered
from ems.plan.commitments import commitment_cost
from ems.plan.inputs import DemandMeter
from ems.plan.tariff import tariff_commitments
from ems.plan.tariff_book import TariffBook
from ems.replay.ledger import Ledger
from ems.site.load import load_site
from ems.site.model import Site
from ems.site.tariff import Tariff
from ems.site.tariff_build import build_tariff
from ems.site.tariff_prices import step_prices
from ems.site.tariff_schema import TariffFile
from simulators.plant import PlantStep
from tests.plan.given import MONDAY, plan_inputs
from tests.site.conftest import DEMO

DEMO_SITE = load_site(DEMO)
ZONE = DEMO_SITE.time_zone
JULY = datetime(2024, 7, 1, 5, tzinfo=UTC)  # midnight in Chicago
HALF_H, MONTH_H = 96, 744
HOUR = timedelta(hours=1)

price = st.floats(0.0, 0.4).map(lambda v: round(v, 4))
big = st.floats(0.0, 30.0).map(lambda v: round(v, 2))
kw = st.floats(1.0, 1500.0).map(round).map(float)
interval = st.sampled_from([15, 30, 60])
WINDOWS = [
    {"months": [6, 7, 8, 9], "days": "weekdays", "hours": [14, 20]},
    {"days": "weekends"},
    {"hours": [22, 6]},
    {"months": [1, 7], "days": ["mon", "holiday"], "hours": [7.5, 9]},
]


@st.composite
def demand_charge(draw: st.DrawFn, name: str) -> dict[str, Any]:
    charge: dict[str, Any] = {"name": name, "price_per_kw_month": draw(big), "interval_min": draw(interval)}
    if draw(st.booleans()):
        charge["when"] = [draw(st.sampled_from(WINDOWS))]
    if draw(st.booleans()):
        charge["ratchet"] = {"share": 0.8, "months": 11}
    return {**charge, "minimum_kw": draw(st.sampled_from([0.0, 700.0])), "billed_on": draw(st.sampled_from(["window", "month"]))}


@st.composite
def tariffs(draw: st.DrawFn) -> Tariff:
    """Any tariff whose next kWh and kW have one price: no tiers, no minimum bill."""
    energy = draw(st.sampled_from(["fixed", "time_of_use", "real_time", "day_ahead"]))
    data: dict[str, Any] = {"name": "drawn", "energy": energy, "energy_price_per_kwh": draw(price), "demand_price_per_kw_month": draw(big)}
    data["demand_interval_min"] = draw(interval)
    if energy == "time_of_use" or draw(st.booleans()):
        peak = {"name": "peak", "price_per_kwh": draw(price), "when": draw(st.lists(st.sampled_from(WINDOWS), min_size=1, max_size=2))}
        data["energy_periods"] = [peak, {"name": "rest", "price_per_kwh": draw(price), "rest": True}]
    if draw(st.booleans()):
        data |= {"export_energy": energy if energy in ("real_time", "day_ahead") else "fixed", "export_price_per_kwh": -0.01}
    data["demand_charges"] = [draw(demand_charge(f"charge {k}")) for k in range(draw(st.integers(0, 2)))]
    data["past_peaks_kw"] = {"2024-06": {d["name"]: draw(kw) for d in data["demand_charges"]}}
    rare = {
        "contract_capacity": st.fixed_dictionaries({"kw": kw, "breach_price_per_kw_month": big}),
        "carbon": st.fixed_dictionaries({"price_per_kg": price}),
        "minimum_take": st.fixed_dictionaries({"kwh_per_month": st.sampled_from([1e5, 5e5, 1e6]), "price_per_kwh": price}),
        "ramp": st.fixed_dictionaries({"free_kw_per_min": st.just(2.0), "price_per_kw": price, "interval_min": st.just(60)}),
        "coincident_peak": st.fixed_dictionaries({"rule": st.just("12cp"), "price_per_kw_year": big}),
    }
    data |= {key: draw(part) for key, part in rare.items() if draw(st.booleans())}
    return build_tariff(TariffFile.model_validate(data))


@dataclass
class Known:
    """Says exactly when the system peaks."""

    at: Sequence[datetime]

    def probability(self, now: datetime, starts: Sequence[datetime], duration_h: Sequence[float]) -> np.ndarray:
        return np.array([float(s in self.at) for s in starts])


def money(tariff: Tariff, metered: Metered) -> float:
    """What depends on the meter, of all months."""
    return sum(float(bill.part(part)) for bill in make_bills(tariff, "USD", ZONE, metered) for part in (ENERGY, DEMAND, CARBON))


def planned(
    site: Site,
    book: TariffBook,
    peak_kw: float,
    horizon: Horizon,
    power: np.ndarray,
    market: np.ndarray,
    grams: np.ndarray,
    later_kw: float = 0.0,
) -> float:
    """What the commitments of a plan cost for given step means. `later_kw`: the peak expected of whole months and years to come."""
    tariff = site.tariff
    period, export = step_prices(tariff, ZONE, horizon.starts, horizon.duration_h)
    exports_at_market = tariff.export_energy != "fixed"
    inputs = replace(
        plan_inputs(site, MONDAY),
        horizon=horizon,
        import_price_per_kwh=market * tariff.is_market + tariff.energy_price_per_kwh + period,
        export_price_per_kwh=market * exports_at_market + export,
        meter=DemandMeter(peak_kw, 0.0),
    )
    of_book = book.commitments(horizon.starts[0], horizon, lambda hours, days: later_kw if days == inf else 0.0, grams)
    commitments = (*tariff_commitments(tariff, inputs), *of_book)
    hours, total = np.array(horizon.duration_h), 0.0
    data = Metered(horizon.starts[0], 30, np.repeat(power, 2))
    for c in commitments:
        values = power
        if c.per is Per.PEAK:
            at_s, means = data.import_means(c.interval_min)
            spans = [(a.timestamp(), b.timestamp()) for a, b in c.spans] if c.spans is not None else [(0.0, 1e12)]
            values = means[[any(a <= t < b for a, b in spans) for t in at_s]]
        if c.per is Per.TOTAL:
            values = np.maximum(power, 0.0)
        total += 0.0 if c.name.endswith("next month's demand charge") else commitment_cost(c, hours, values)
    return total


@settings(max_examples=60, deadline=None)
@given(tariffs(), st.integers(0, 10_000), st.booleans())
def test_a_plan_and_the_bill_agree_on_what_one_half_month_costs_more_than_another(tariff: Tariff, seed: int, exports: bool) -> None:
    rng = np.random.default_rng(seed)
    tariff = replace(tariff, ramp=None)  # priced on the steps of the plan's own grid: tests/plan/test_plan_money.py
    site = replace(DEMO_SITE, tariff=tariff)
    low = -200.0 if exports and tariff.export_price_per_kwh < 0 and not tariff.minimum_take else 300.0
    first, x, y = (rng.uniform(low, 1300.0, n) for n in (HALF_H, MONTH_H - HALF_H, MONTH_H - HALF_H))
    market, grams = rng.normal(0.05, 0.04, MONTH_H), rng.uniform(100.0, 600.0, MONTH_H)
    peaks = [JULY + HOUR * int(k) for k in (HALF_H + 3, HALF_H + 200)]
    book = TariffBook(site, Known(peaks) if tariff.coincident_peak else None)
    for k, mean in enumerate(np.repeat(first, 4)):
        book.observe(JULY + HOUR * k / 4, 900.0, float(mean))
    book.observe(JULY + HOUR * HALF_H, 0.0, 0.0)  # closes the last interval
    horizon = Horizon(tuple(JULY + HOUR * k for k in range(HALF_H, MONTH_H)), (1.0,) * (MONTH_H - HALF_H))
    peak_kw = float(np.maximum(first, 0.0).max())
    later_kw = 1e6  # no ratchet reaches it: this month alone is billed here
    plan = [planned(site, book, peak_kw, horizon, half, market[HALF_H:], grams[HALF_H:], later_kw) for half in (x, y)]
    bills = []
    for half in (x, y):
        net_kw, market_per_kwh, carbon = (np.repeat(row, 2) for row in (np.concatenate([first, half]), market, grams))
        coincident = tuple(p.timestamp() for p in peaks)
        data = Metered(JULY, 30, net_kw, market_per_kwh, carbon_g_per_kwh=carbon, coincident_s=coincident)
        bills.append(money(tariff, data))
    if tariff.minimum_take is not None:  # the plan takes the month's mean so far for what is left; the horizon leaves nothing
        assume(abs(sum(first.clip(0)) + sum(x.clip(0)) - tariff.minimum_take.kwh_per_month) > 1.0)
    assert plan[0] - plan[1] == pytest.approx(bills[0] - bills[1], abs=0.02)


@settings(max_examples=60, deadline=None)
@given(tariffs(), st.integers(0, 10_000), st.sampled_from([datetime(2024, 7, 31, 22, tzinfo=UTC), datetime(2024, 11, 3, 4, tzinfo=UTC)]))
def test_what_a_replay_is_charged_is_what_the_bill_engine_says(tariff: Tariff, seed: int, start: datetime) -> None:
    """Minute by minute, imports and exports mixed, over the end of a month and over the change of clocks."""
    rng = np.random.default_rng(seed)
    site, minutes = replace(DEMO_SITE, tariff=tariff), 12 * 60
    net = rng.uniform(-100.0, 1300.0, minutes)
    market, grams = np.repeat(rng.normal(0.05, 0.04, minutes // 15), 15), np.repeat(rng.uniform(100.0, 600.0, minutes // 15), 15)
    period = step_prices(tariff, ZONE, [start + timedelta(minutes=k) for k in range(minutes)], [1 / 60] * minutes)[0]
    ledger = Ledger(site, 0.0, start)
    for k in range(minutes):
        step = PlantStep(start + timedelta(minutes=k), 60.0, float(net[k]), {}, {}, 0, 0, 0, {}, {}, 0, {}, {}, 0, 0)
        all_in = market[k] * tariff.is_market + tariff.energy_price_per_kwh + period[k]
        ledger.add(step, (start + timedelta(minutes=k)).timestamp(), float(all_in), 1450.0, float(grams[k]))
    ledger.finish({})
    cost = ledger.cost({})
    billed = money(tariff, Metered(start, 1, net, market if tariff.is_market else None, carbon_g_per_kwh=grams))
    assert cost.energy + cost.demand + cost.carbon == pytest.approx(billed, abs=0.01)


def after_history(tariff: Tariff, start: datetime, hours: int, mean_kw: float) -> TariffBook:
    book = TariffBook(replace(DEMO_SITE, tariff=tariff))
    for k in range(hours):
        book.observe(start + HOUR * k, 3600.0, mean_kw)
    return book


def built(**data: Any) -> Tariff:
    return build_tariff(TariffFile.model_validate({"name": "t", "energy": "time_of_use", "demand_interval_min": 60, **data}))


def test_within_the_tier_a_month_ends_in_the_plan_and_the_bill_agree() -> None:
    tiers = [{"up_to": 300_000.0, "price_per_kwh": 0.04}, {"up_to": 900_000.0, "price_per_kwh": 0.11}, {"price_per_kwh": 0.2}]
    tariff = built(energy_periods=[{"name": "all", "rest": True, "tiers": tiers}])
    book = after_history(tariff, JULY, HALF_H, 1000.0)
    horizon = Horizon(tuple(JULY + HOUR * k for k in range(HALF_H, MONTH_H)), (1.0,) * (MONTH_H - HALF_H))
    expected = book.tier_kwh(horizon.starts[0])
    step = step_prices(tariff, ZONE, horizon.starts, horizon.duration_h, expected)[0]
    x, y = (np.full(horizon.n, kw) for kw in (900.0, 1100.0))
    bills = [money(tariff, Metered(JULY, 60, np.r_[np.full(HALF_H, 1000.0), half])) for half in (x, y)]
    assert float(step @ (y - x)) == pytest.approx(bills[1] - bills[0], abs=0.01)


def test_a_year_of_utilisation_hours_costs_the_same_in_plan_and_bill() -> None:
    pairs = {"below": {"demand_price_per_kw_year": 20.0, "energy_price_per_kwh": 0.05}}
    pairs["above"] = {"demand_price_per_kw_year": 140.0, "energy_price_per_kwh": 0.008}
    tariff = built(energy="fixed", energy_price_per_kwh=0.04, utilisation_hours={**pairs, "interval_min": 60})
    year, last = datetime(2023, 1, 1, 6, tzinfo=UTC), 24 * 7  # the last week of a local year
    before = 8760 - last
    book = after_history(tariff, datetime(2023, 12, 20, 6, tzinfo=UTC), 24, 1000.0)
    book.observe(year + HOUR * before, 0.0, 0.0)
    horizon = Horizon(tuple(year + HOUR * k for k in range(before, 8760)), (1.0,) * last)
    zero = np.zeros(last)
    plan, bills = [], []
    for peak_kw in (1000.0, 1150.0):
        half = np.full(last, 1000.0)
        half[30] = peak_kw
        plan.append(planned(replace(DEMO_SITE, tariff=tariff), book, 1000.0, horizon, half, zero, zero))
        bills.append(money(tariff, Metered(year, 60, np.r_[np.full(before, 1000.0), half])))
    assert plan[1] - plan[0] == pytest.approx(bills[1] - bills[0], abs=0.01)
    assert bills[1] - bills[0] == pytest.approx(150.0 * (140.0 + 0.048), abs=0.01)
