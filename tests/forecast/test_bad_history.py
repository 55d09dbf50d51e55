"""Histories that cannot be forecast from: a forecast of honest width, and a reason with a name."""

from dataclasses import replace

import numpy as np
import pytest

from ems.forecast.catalogue import NAMES, load_forecaster, usual_leads
from ems.forecast.measures import Q10, Q90
from ems.forecast.protocol import history_of
from ems.forecast.tenants import TenantForecaster
from ems.forecast.validators import LOAD, screened
from tests.forecast.series_maker import DAY, STEP_S, daily, known

LEADS = usual_leads(STEP_S)


def after(values, name="ensemble", low=0.0, high=1000.0):
    forecaster = load_forecaster(name, LEADS, low, high)
    for end in range(0, len(values) + 1):
        f = forecaster.update(known(values[:end]))
    return f


@pytest.mark.parametrize("name", [n for n in NAMES if n != "trees"])
@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([], "no history"),
        ([np.nan] * 50, "no history"),
        ([500.0] * 5, "history shorter than 12 values"),
        ([500.0] * 60, "constant"),
        (list(daily(0.3)) + [np.nan] * 150, "no value for 25 h"),
    ],
)
def test_the_reason_has_a_name_and_the_width_is_honest(name, values, reason):
    f = after(values, name)
    assert f.reason == reason and f.source == "fallback"
    assert np.isfinite(f.values).all() and (np.diff(f.values, axis=0) >= 0).all()
    assert (f.values[-1] - f.values[0] >= 45.0).all()


def test_within_the_first_day_the_models_serve_and_say_so():
    f = after(list(daily(0.5)))
    assert f.source == "ensemble" and f.reason == "history shorter than a day"


def test_without_a_rating_and_without_history_nothing_is_invented():
    f = load_forecaster("ensemble", LEADS).update(known([]))
    assert np.isnan(f.values).all() and f.reason == "no history"


def test_the_older_the_newest_value_the_wider_the_fallback():
    widths = [np.ptp(after(list(daily(1.2)) + [np.nan] * n, "fallback", high=np.inf).values[:, 0]) for n in (0, 144, 600)]
    assert widths[0] < widths[1] < widths[2]


def test_a_change_of_unit_is_refused_named_and_forecast_around():
    values = daily(3)
    values[300:] /= 1000.0
    history, alarms = screened(values, STEP_S, LOAD)
    assert "unit change" in {a.name for a in alarms}
    forecaster = load_forecaster("linear", LEADS)
    for end in range(1, len(values) + 1):
        f = forecaster.update(history.until(end))
    assert f.values[6].min() > 300.0
    assert (f.values[Q90, 0] - f.values[Q10, 0]) > 60.0


def test_a_calendar_in_another_zone_moves_the_weekend_and_breaks_nothing():
    history = known(daily(2))
    forecaster = load_forecaster("linear", LEADS)
    assert np.isfinite(forecaster.update(replace(history, time_zone="Australia/Melbourne")).values).all()


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd"])
def test_a_zone_nobody_knows_is_named_and_the_fallback_serves(zone):
    for name in ("linear", "ensemble"):
        f = load_forecaster(name, LEADS, 0.0, 1000.0).update(replace(known(daily(2)), time_zone=zone))
        assert f.source == "fallback" and f.reason == f"time zone {zone} is not known"
        assert np.isfinite(f.values).all() and (f.values[-1] - f.values[0] > 45.0).all()


def test_after_a_day_of_refused_values_the_fallback_serves_and_says_so():
    values = daily(4)
    values[2 * DAY :] *= 1000.0
    history, alarms = screened(values, STEP_S, LOAD)
    assert "unit change" in {a.name for a in alarms}
    forecaster = load_forecaster("ensemble", LEADS, 0.0, 1000.0)
    for end in range(DAY, len(values) + 1, 6):
        f = forecaster.update(history.until(history.first + end))
    assert f.source == "fallback" and f.reason == "no value for 48 h"
    assert np.isfinite(f.values).all() and (f.values[Q90] - f.values[Q10] > 200.0).all() and f.values.max() <= 1000.0


def test_a_history_with_a_thousand_tenants_of_half_a_day_is_forecast_from_their_total():
    rng = np.random.default_rng(3)
    parts = rng.gamma(0.3, 1.0, (DAY // 2, 1000))
    forecaster = TenantForecaster(LEADS, 0.0)
    forecaster.tenants.tell(0, parts)
    for end in range(1, len(parts) + 1):
        f = forecaster.update(history_of(parts.sum(axis=1)[:end], STEP_S))
    assert f.reason == "history shorter than a day" and np.isfinite(f.values).all()
    assert (f.values[Q90] - f.values[Q10] > 0.02 * f.values[6]).all()


def test_a_clock_that_jumps_far_ahead_is_survived():
    history = known(daily(2))
    forecaster = load_forecaster("ensemble", LEADS)
    forecaster.update(history)
    assert np.isfinite(forecaster.update(replace(history, first=history.first + 100_000)).values).all()
