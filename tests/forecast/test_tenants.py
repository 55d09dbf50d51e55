"""A total forecast tenant by tenant: each fades at its own pace; no look ahead; a thousand tenants are survived."""

import numpy as np
import pytest

from ems.forecast.catalogue import load_forecaster, usual_leads
from ems.forecast.evaluate import issue_all, replayed, score_issued
from ems.forecast.load_series import load_series, servegen_clients
from ems.forecast.protocol import history_of
from ems.forecast.tenants import MOST_APART, TenantForecaster, TenantSum
from tests.forecast.series_maker import DAY, FIRST, STEP_S, known

LEADS = np.array([1, 6])


def bursty(days: float, seed: int = 4):
    """One tenant stands high or low for half a day, another bursts for half an hour: their sum cannot be told from either."""
    rng = np.random.default_rng(seed)
    n = int(days * DAY)
    steady = np.repeat(rng.choice([40.0, 140.0], n // 72 + 1), 72)[:n]
    burst = np.where(np.repeat(rng.random(n // 3 + 1) < 0.15, 3)[:n], 110.0, 10.0)
    rest = 20.0 + rng.normal(0, 2.0, (n, 4))
    return np.column_stack([steady, burst, rest])


def points(parts, values, ends):
    forecaster = TenantSum(LEADS)
    forecaster.tell(FIRST, parts)
    return np.array([forecaster.update(known(values).until(FIRST + end)) for end in range(1, ends + 1)])


def test_a_burst_is_expected_to_end_and_a_level_to_stay():
    parts = bursty(8)
    values = parts.sum(axis=1)
    said = points(parts, values, len(values) - 6)[5 * DAY :, 1]
    ends = np.arange(5 * DAY + 1, len(values) - 5)
    actual, newest = values[ends + 5], values[ends - 1]
    assert np.abs(said - actual).mean() < 0.85 * np.abs(newest - actual).mean()
    in_burst = parts[ends - 1, 1] > 100.0
    assert (said - newest)[in_burst].mean() < -50.0
    assert abs((said - newest)[~in_burst].mean()) < 25.0


def test_the_tenants_of_the_future_change_no_earlier_forecast():
    parts = bursty(3)
    values, cut = parts.sum(axis=1), 2 * DAY + 50
    ours = points(parts, values, cut)
    later = parts.copy()
    later[cut:] = 1e6
    theirs = points(later, values, cut)
    assert np.isfinite(ours[DAY + 1 :]).all() and np.array_equal(ours, theirs, equal_nan=True)


def test_without_tenants_or_within_the_first_day_the_others_forecast():
    values = bursty(1.6).sum(axis=1)
    untold = TenantForecaster(usual_leads(STEP_S), 0.0)
    plain = load_forecaster("ensemble", usual_leads(STEP_S), 0.0)
    for forecaster in (untold, plain):
        issued = issue_all(forecaster, known(values)).values
        assert np.isfinite(issued[20:]).all()


def test_a_thousand_tenants_and_what_belongs_to_none_are_summed():
    rng = np.random.default_rng(2)
    parts = rng.gamma(0.3, 1.0, (2 * DAY, 1000)) * rng.pareto(1.5, 1000)
    values = parts.sum(axis=1) + 500.0
    forecaster = TenantSum(LEADS)
    forecaster.tell(0, parts)
    for end in range(2 * DAY - 20, 2 * DAY + 1):
        said = forecaster.update(history_of(values[:end], STEP_S))
    assert forecaster._models[0].theta.shape[0] == MOST_APART + 1
    assert said == pytest.approx(np.full(2, values.mean()), rel=0.2)


def test_a_tenant_whose_values_are_missing_counts_as_silent():
    parts = bursty(2)
    values = parts.sum(axis=1)
    parts[:, 3] = np.nan
    said = points(parts, values, len(values))
    assert np.isfinite(said[DAY + 2 :]).all()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_clients_apart_forecast_a_real_service_better_than_its_total(data_dir):
    series, clients = load_series(data_dir)[1], servegen_clients(data_dir)
    issued = replayed(series, ["ensemble"], [600.0, 3600.0])
    forecaster = TenantForecaster(issued["ensemble"].leads, series.low, series.high)
    forecaster.tenants.tell(series.first, clients)
    issued[forecaster.name] = issue_all(forecaster, history_of(series.values, series.step_s, series.first))
    rows = {(row.forecaster, row.lead_s): row.measures for row in score_issued(series, issued, [600.0, 3600.0])}
    for lead_s in (600.0, 3600.0):
        apart, whole = rows["ensemble by tenant", lead_s], rows["ensemble", lead_s]
        assert apart.crps < whole.crps and apart.mae < whole.mae
