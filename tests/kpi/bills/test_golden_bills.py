"""Bills worked out by hand: clock changes, leap days, half hours, and every charge that PySAM does not know."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from ems.errors import DataError
from ems.kpi.bills.bill import make_bills
from ems.kpi.bills.coincident import coincident_intervals
from ems.kpi.bills.lines import MonthlyBill, total
from ems.kpi.bills.metered import Metered
from ems.site.tariff import Tariff
from ems.site.tariff_build import build_tariff
from ems.site.tariff_schema import TariffFile

CHICAGO, LONDON, BERLIN = "America/Chicago", "Europe/London", "Europe/Berlin"
NIGHT = [{"name": "night", "price_per_kwh": 0.05, "when": [{"hours": [0, 6]}]}, {"name": "day", "price_per_kwh": 0.10, "rest": True}]


def tariff(**keys: Any) -> Tariff:
    return build_tariff(TariffFile.model_validate({"name": "golden", "energy": "fixed", **keys}))


def local(zone: str, *when: int) -> datetime:
    return datetime(*when, tzinfo=ZoneInfo(zone))


def constant(zone: str, start: datetime, end: datetime, kw: float, interval_min: int = 15) -> Metered:
    return Metered(start, interval_min, np.full(round((end.timestamp() - start.timestamp()) / 60 / interval_min), kw))


def raised(metered: Metered, at: datetime, minutes: int, kw: float) -> Metered:
    """The same with another power from an instant on."""
    first = round((at.timestamp() - metered.start.timestamp()) / 60 / metered.interval_min)
    net = metered.net_kw.copy()
    net[first : first + minutes // metered.interval_min] = kw
    return replace(metered, net_kw=net)


def amounts(bill: MonthlyBill) -> dict[str, Decimal]:
    return {line.name: line.amount for line in bill.lines}


def only(bills: tuple[MonthlyBill, ...]) -> MonthlyBill:
    assert len(bills) == 1
    return bills[0]


def test_the_night_of_a_november_with_an_hour_twice_is_an_hour_longer() -> None:
    metered = constant(CHICAGO, local(CHICAGO, 2024, 11, 1), local(CHICAGO, 2024, 12, 1), 100.0)
    bill = only(make_bills(tariff(energy="time_of_use", energy_periods=NIGHT), "USD", CHICAGO, metered))
    # 30 nights of 6 h and one hour more: 181 h x 100 kW x 0.05; 540 h x 100 kW x 0.10
    assert amounts(bill) == {"night": Decimal("905"), "day": Decimal("5400")}
    assert (bill.month, bill.payable) == ("2024-11", Decimal("6305.00"))


def test_the_night_of_a_march_that_misses_an_hour_is_an_hour_shorter() -> None:
    metered = constant(CHICAGO, local(CHICAGO, 2024, 3, 1), local(CHICAGO, 2024, 4, 1), 100.0)
    bill = only(make_bills(tariff(energy="time_of_use", energy_periods=NIGHT), "USD", CHICAGO, metered))
    assert amounts(bill) == {"night": Decimal("925"), "day": Decimal("5580")}  # 185 h and 558 h
    assert bill.share == pytest.approx(1.0)


def test_a_leap_february_has_29_days_of_everything() -> None:
    metered = constant(CHICAGO, local(CHICAGO, 2024, 2, 1), local(CHICAGO, 2024, 3, 1), 100.0)
    rates = tariff(energy_price_per_kwh=0.10, fixed_price_per_day=4.0, fixed_price_per_month=50.0)
    bill = only(make_bills(rates, "USD", CHICAGO, metered))
    assert amounts(bill) == {"fixed": Decimal("50"), "fixed per day": Decimal("116"), "energy": Decimal("6960")}  # 696 h


def test_tiers_per_day_count_the_leap_day() -> None:
    metered = constant(CHICAGO, local(CHICAGO, 2024, 2, 1), local(CHICAGO, 2024, 3, 1), 100.0)
    tiers = [{"up_to": 1000.0, "price_per_kwh": 0.1}, {"price_per_kwh": 0.2}]
    rates = tariff(energy="time_of_use", tier_unit="kwh_per_day", energy_periods=[{"name": "all", "tiers": tiers, "rest": True}])
    # 69,600 kWh: 29,000 at 0.10 and 40,600 at 0.20
    assert only(make_bills(rates, "USD", CHICAGO, metered)).total == Decimal("2900") + Decimal("8120")


def test_half_hours_of_a_british_red_band_in_summer_time() -> None:
    metered = constant(LONDON, local(LONDON, 2024, 4, 1), local(LONDON, 2024, 5, 1), 300.0, interval_min=5)
    metered = raised(metered, datetime(2024, 4, 2, 15, tzinfo=UTC), 10, 600.0)  # 16:00 in London: the half hour's mean is 400
    metered = raised(metered, datetime(2024, 4, 3, 18, tzinfo=UTC), 30, 900.0)  # 19:00 in London: after the red band
    red = [{"days": "weekdays", "hours": [16, 19]}]
    rates = tariff(
        energy="time_of_use",
        energy_periods=[{"name": "red", "price_per_kwh": 0.30, "when": red}, {"name": "other", "price_per_kwh": 0.10, "rest": True}],
        demand_interval_min=30,
        demand_price_per_kw_month=1.0,
        demand_charges=[{"name": "red peak", "price_per_kw_month": 10.0, "when": red}],
    )
    # 22 working days x 3 h x 300 kW + 50 kWh = 19,850 kWh red of 720 h x 300 + 50 + 300 = 216,350
    assert amounts(only(make_bills(rates, "GBP", LONDON, metered))) == {
        "red": Decimal("5955"),
        "other": Decimal("19650"),
        "demand charge": Decimal("900"),
        "red peak": Decimal("4000"),
    }


def test_a_fifteen_minute_peak_is_the_mean_of_its_quarter_not_its_highest_five_minutes() -> None:
    metered = constant(CHICAGO, local(CHICAGO, 2024, 5, 1), local(CHICAGO, 2024, 6, 1), 200.0, interval_min=5)
    metered = raised(metered, local(CHICAGO, 2024, 5, 6, 12, 10), 10, 500.0)  # half in one quarter, half in the next
    bill = only(make_bills(tariff(demand_price_per_kw_month=10.0), "USD", CHICAGO, metered))
    assert amounts(bill) == {"demand charge": Decimal("3000")}  # (200 + 200 + 500) / 3


def test_a_holiday_has_the_weekend_price() -> None:
    week = [{"name": "work", "price_per_kwh": 0.2, "when": [{"days": "weekdays"}]}, {"name": "rest", "price_per_kwh": 0.1, "rest": True}]
    metered = constant(CHICAGO, local(CHICAGO, 2024, 7, 1), local(CHICAGO, 2024, 8, 1), 10.0)
    without = only(make_bills(tariff(energy="time_of_use", energy_periods=week), "USD", CHICAGO, metered))
    with_holiday = only(make_bills(tariff(energy="time_of_use", energy_periods=week, holidays=["2024-07-04"]), "USD", CHICAGO, metered))
    assert without.total - with_holiday.total == Decimal("24")  # 240 kWh at 0.1 less


def test_a_ratchet_remembers_the_summer_and_forgets_it_after_its_months() -> None:
    ratchet = {"share": 0.8, "months": 3, "of_months": [6, 7, 8, 9]}
    charge = [{"name": "kw", "price_per_kw_month": 10.0, "ratchet": ratchet}]
    metered = constant(CHICAGO, local(CHICAGO, 2024, 9, 1), local(CHICAGO, 2025, 2, 1), 500.0)
    rates = tariff(demand_charges=charge, past_peaks_kw={"2024-08": {"kw": 1000.0}})
    billed = [bill.lines[0].quantity for bill in make_bills(rates, "USD", CHICAGO, metered)]
    assert billed == pytest.approx([800, 800, 800, 500, 500])  # September to January; December looks back to September's own 500


def test_a_contract_capacity_is_paid_and_its_breach_priced() -> None:
    metered = constant(BERLIN, local(BERLIN, 2024, 5, 1), local(BERLIN, 2024, 6, 1), 900.0)
    metered = raised(metered, local(BERLIN, 2024, 5, 7, 9), 15, 1100.0)
    rates = tariff(contract_capacity={"kw": 1000.0, "price_per_kw_month": 2.0, "breach_price_per_kw_month": 8.0})
    bill = only(make_bills(rates, "EUR", BERLIN, metered))
    assert amounts(bill) == {"contract capacity": Decimal("2000"), "breach of contract capacity": Decimal("800")}
    below = replace(metered, net_kw=np.minimum(metered.net_kw, 900.0))
    assert only(make_bills(rates, "EUR", BERLIN, below)).total == Decimal("2000")  # nothing back for what is not used


PAIR = {
    "below": {"demand_price_per_kw_year": 4.0, "energy_price_per_kwh": 0.03},
    "above": {"demand_price_per_kw_year": 60.0, "energy_price_per_kwh": 0.005},
}


@pytest.mark.parametrize(
    ("peak_kw", "expected"),
    [
        (400.0, "27882.25"),  # 876,075 kWh / 400 kW = 2,190 h: 4 x 400 + 0.03 x 876,075
        (200.0, "16380.125"),  # 876,025 kWh / 200 kW = 4,380 h: 60 x 200 + 0.005 x 876,025
    ],
)
def test_a_year_is_settled_at_the_pair_its_utilisation_hours_ask_for(peak_kw: float, expected: str) -> None:
    metered = constant(BERLIN, local(BERLIN, 2023, 1, 1), local(BERLIN, 2024, 1, 1), 100.0)
    metered = raised(metered, local(BERLIN, 2023, 8, 1, 12), 15, peak_kw)
    bills = make_bills(tariff(utilisation_hours=PAIR), "EUR", BERLIN, metered)
    assert len(bills) == 12 and float(total(bills)) == pytest.approx(float(expected), abs=1e-4)


def test_four_coincident_peaks_cost_a_quarter_of_the_yearly_price_each() -> None:
    rates = tariff(demand_interval_min=15, coincident_peak={"rule": "4cp", "price_per_kw_year": 60.0, "hours": [14, 19]})
    start, end = local(CHICAGO, 2024, 6, 1), local(CHICAGO, 2024, 10, 1)
    metered = constant(CHICAGO, start, end, 1000.0)
    peaks = [local(CHICAGO, 2024, month, 20, 16, 45) for month in (6, 7, 8, 9)]
    system = np.full(len(metered.net_kw), 50e6)
    for k, peak in enumerate(peaks):
        system[round((peak.timestamp() - start.timestamp()) / 900)] = 70e6 + k
    system[round((local(CHICAGO, 2024, 7, 9, 21).timestamp() - start.timestamp()) / 900)] = 90e6  # outside the hours that count
    found = coincident_intervals(rates, CHICAGO, metered.at_s, system)
    assert found == tuple(p.timestamp() for p in peaks)
    metered = raised(replace(metered, coincident_s=found), peaks[1], 15, 200.0)
    bills = make_bills(rates, "USD", CHICAGO, metered)
    assert [bill.total for bill in bills] == [Decimal(15000), Decimal(3000), Decimal(15000), Decimal(15000)]


def test_five_coincident_peaks_lie_on_five_days() -> None:
    rates = tariff(coincident_peak={"rule": "5cp", "price_per_kw_year": 100.0})
    start = local("America/New_York", 2024, 6, 1)
    at_s = start.timestamp() + 3600.0 * np.arange(24 * 40)
    system = 100.0 + np.arange(len(at_s)) % 24 + np.arange(len(at_s)) / 1000.0
    found = coincident_intervals(rates, "America/New_York", at_s, system)
    days = {datetime.fromtimestamp(s, ZoneInfo("America/New_York")).date() for s in found}
    assert len(found) == len(days) == 5 and min(days) == start.date() + timedelta(days=35)


def test_december_carries_what_a_year_misses_of_its_minimum_and_an_unfinished_year_pays_nothing_of_it() -> None:
    keys = {"energy_price_per_kwh": 0.10, "demand_price_per_kw_month": 10.0, "fixed_price_per_day": 2.0}
    begin, end = local(BERLIN, 2023, 1, 1), local(BERLIN, 2024, 1, 1)
    metered = raised(constant(BERLIN, begin, end, 100.0), local(BERLIN, 2023, 7, 3, 12), 15, 300.0)
    # 8,760 h x 100 kW x 0.10 and a quarter hour x 200 kW x 0.10; 11 x 100 kW x 10 and 300 kW x 10; 365 x 2
    paid = Decimal("87605") + Decimal("14000") + Decimal("730")
    line = "up to the minimum of the year"
    bills = make_bills(tariff(**keys, minimum_charge_per_year=110_000.0), "EUR", BERLIN, metered)
    assert [bill.month for bill in bills if line in amounts(bill)] == ["2023-12"]
    assert amounts(bills[-1])[line] == Decimal("110000") - paid == Decimal("7665") and total(bills) == Decimal("110000")
    above = make_bills(tariff(**keys, minimum_charge_per_year=102_000.0), "EUR", BERLIN, metered)
    assert total(above) == paid and not any(line in amounts(bill) for bill in above)
    # with a month's minimum of 10,000 every month pays that but July: 744 h x 10, a quarter hour more, 300 kW x 10, 31 x 2
    both = make_bills(tariff(**keys, minimum_charge_per_month=10_000.0, minimum_charge_per_year=125_000.0), "EUR", BERLIN, metered)
    july = Decimal("7440") + Decimal("5") + Decimal("3000") + Decimal("62")
    assert amounts(both[-1])[line] == Decimal("125000") - (11 * Decimal("10000") + july)
    unfinished = replace(metered, net_kw=metered.net_kw[:-96])
    assert not any(
        line in amounts(bill) for bill in make_bills(tariff(**keys, minimum_charge_per_year=110_000.0), "EUR", BERLIN, unfinished)
    )


def test_a_minimum_take_is_paid_for_whether_taken_or_not() -> None:
    metered = constant(CHICAGO, local(CHICAGO, 2024, 6, 1), local(CHICAGO, 2024, 7, 1), 100.0)
    take = {"kwh_per_month": 100_000.0, "price_per_kwh": 0.04}
    bill = only(make_bills(tariff(energy_price_per_kwh=0.04, minimum_take=take), "USD", CHICAGO, metered))
    assert bill.total == Decimal("4000")  # 72,000 taken and 28,000 not


def test_market_energy_export_and_carbon_follow_their_series() -> None:
    metered = constant(CHICAGO, local(CHICAGO, 2024, 6, 1), local(CHICAGO, 2024, 7, 1), 100.0, interval_min=60)
    net, price, carbon = metered.net_kw.copy(), np.full(720, 0.03), np.full(720, 400.0)
    net[10], price[10], price[11] = -50.0, 0.5, -0.2
    metered = replace(metered, net_kw=net, market_per_kwh=price, carbon_g_per_kwh=carbon)
    rates = tariff(energy="real_time", energy_price_per_kwh=0.01, export_energy="real_time", carbon={"price_per_kg": 0.05})
    assert amounts(only(make_bills(rates, "USD", CHICAGO, metered))) == {
        "energy at the market price": Decimal("2134"),  # 718 h x 100 kW x 0.03 - 100 x 0.2
        "energy": Decimal("719"),
        "export": Decimal("-25"),  # 50 kWh at 0.5
        "carbon, average": Decimal("1438"),  # 71,900 kWh x 0.4 kg x 0.05
    }


def test_a_ramp_is_priced_beyond_what_is_free() -> None:
    metered = constant(CHICAGO, local(CHICAGO, 2024, 6, 1), local(CHICAGO, 2024, 7, 1), 100.0)
    metered = raised(metered, local(CHICAGO, 2024, 6, 3, 12), 60, 700.0)
    ramp = {"free_kw_per_min": 20.0, "price_per_kw": 0.5}
    bill = only(make_bills(tariff(ramp=ramp), "USD", CHICAGO, metered))
    assert bill.total == Decimal("300")  # up 600 - 300 free, and down again


def test_a_part_of_a_month_pays_its_part_of_what_is_fixed_and_its_demand_in_full() -> None:
    metered = constant(CHICAGO, local(CHICAGO, 2024, 6, 1), local(CHICAGO, 2024, 6, 16), 100.0)
    rates = tariff(fixed_price_per_month=90.0, demand_price_per_kw_month=10.0)
    assert amounts(only(make_bills(rates, "USD", CHICAGO, metered))) == {"fixed": Decimal("45"), "demand charge": Decimal("1000")}


def test_data_with_a_gap_or_without_the_price_it_needs_is_refused() -> None:
    metered = constant(CHICAGO, local(CHICAGO, 2024, 6, 1), local(CHICAGO, 2024, 6, 2), 100.0)
    with pytest.raises(DataError, match="96 intervals"):
        replace(metered, net_kw=np.r_[metered.net_kw[:-1], np.nan])
    with pytest.raises(DataError, match="follows a series"):
        make_bills(tariff(energy="day_ahead"), "USD", CHICAGO, metered)
