"""The figures of a summary, each against numbers worked out by hand."""

import numpy as np
import pytest

from ems.kpi.cost import Cost, demand_charge, stored_energy_credit, work_charge
from ems.kpi.efficiency import carbon_per_it_kwh, facility_kwh, pue
from ems.kpi.limits import Excursions, RampExcursions
from ems.kpi.peak import IntervalPeaks
from ems.kpi.scores import coverage, mean_absolute_error, mean_percent_error, pinball_loss
from ems.kpi.service import share_lost, token_energy_index, tokens_per_joule

QUARTER_S = 900.0
AUGUST_31_2345_LOCAL = 1725165900.0  # 2024-09-01T04:45Z: the last quarter hour of August in Chicago


def test_the_total_is_the_sum_of_the_parts_and_credit_is_negative():
    cost = Cost(energy=10.0, demand=20.0, wear=1.0, workload=2.0, stored_energy_credit=-3.0)
    assert cost.total == 30.0
    assert cost.to_dict("USD") == {**cost.to_dict("USD"), "currency": "USD", "total": 30.0, "fuel": 0.0}


def test_each_billing_month_is_charged_in_full():
    assert demand_charge({"2024-08": 1000.0, "2024-09": 500.0}, 12.0) == 18000.0


def test_deferred_work_that_is_dropped_pays_both_prices():
    assert work_charge(10.0, 0.0, 4.0, 0.03, 3.0, 1.0) == pytest.approx(4.3)
    assert work_charge(0.0, 2.0, 0.0, 0.03, 3.0, 1.0) == 6.0


def test_energy_left_in_a_store_is_worth_what_it_would_give_back():
    assert stored_energy_credit(100.0, 0.05, 0.94) == pytest.approx(-4.7)
    assert stored_energy_credit(-100.0, 0.05, 0.94) == pytest.approx(4.7)


def test_an_excursion_begins_a_thousandth_above_the_limit_and_counts_energy_above_the_limit():
    found = Excursions()
    for kw in (1000.9, 1001.1, 1100.0, 999.0, 1200.0):
        found.add(kw, 1000.0, 5.0)
    assert (found.seconds, found.longest_s, found.max_kw) == (15.0, 10.0, 200.0)
    assert found.kwh == pytest.approx((1.1 + 100.0 + 200.0) * 5.0 / 3600.0)


def test_a_ramp_is_judged_between_minute_means_and_only_where_there_is_a_limit():
    limited, free = RampExcursions(100.0), RampExcursions(None)
    for kw in (500.0, 590.0, 800.0, 750.0, 600.0):
        limited.add(kw)
        free.add(kw)
    assert (limited.seconds, free.seconds) == (120.0, 0.0)


def test_the_peak_is_the_highest_interval_mean_of_each_local_month():
    peaks = IntervalPeaks(15, "America/Chicago")
    for i, kw in enumerate((1000.0, 1200.0, 900.0)):
        for half in (0, 1):
            peaks.add(AUGUST_31_2345_LOCAL - QUARTER_S + i * QUARTER_S + half * 450.0, (kw + 100.0 * half) * 0.125, 450.0)
    peaks.close()
    assert peaks.peaks_kw == pytest.approx({"2024-08": 1250.0, "2024-09": 950.0})


def test_a_peak_before_the_window_counts_for_its_month_only():
    peaks = IntervalPeaks(15, "America/Chicago")
    peaks.start_with(AUGUST_31_2345_LOCAL, 1500.0)
    for i in range(2):
        peaks.add(AUGUST_31_2345_LOCAL + i * QUARTER_S, 250.0, QUARTER_S)
    peaks.close()
    assert peaks.peaks_kw == {"2024-08": 1500.0, "2024-09": 1000.0}


def test_facility_energy_leaves_out_what_is_still_stored_and_keeps_storage_losses():
    used = facility_kwh(1300.0, 0.0, 0.0, 90.0)
    assert used == 1210.0
    assert pue(used, 1000.0) == 1.21
    assert pue(used, 0.0) is None


def test_carbon_is_unknown_without_a_grid_intensity():
    assert carbon_per_it_kwh(None, 10.0) is None
    assert carbon_per_it_kwh(4.0, 10.0) == 400.0


def test_tokens_per_joule_and_the_index_agree_with_their_definition():
    assert tokens_per_joule(7.2e6, 2.0) == 1.0
    assert token_energy_index(tokens=1000.0, facility_kwh=1.3, asked_tokens=1000.0, asked_it_kwh=1.0) == pytest.approx(1 / 1.3)
    assert token_energy_index(1000.0, 1.3, 0.0, 1.0) is None


def test_the_share_lost_of_nothing_is_nothing():
    assert share_lost(1.0, 4.0) == 0.25
    assert share_lost(0.0, 0.0) == 0.0


def test_scores_of_a_forecast():
    actual, low, high = np.array([10.0, 20.0, 30.0, 40.0]), np.array([9.0, 21.0, 29.0, 41.0]), np.array([11.0, 22.0, 31.0, 42.0])
    assert mean_absolute_error(actual, low) == 1.0
    assert mean_percent_error(actual, low) == 4.0
    assert coverage(actual, low, high) == 0.5
    assert pinball_loss(np.array([10.0, 10.0]), np.array([8.0, 12.0]), 0.9) == pytest.approx((0.9 * 2 + 0.1 * 2) / 2)
