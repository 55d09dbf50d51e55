"""No forecast sees the future: what comes after its instant may be anything, and changes nothing said before."""

from datetime import UTC, datetime

import numpy as np
import pytest

from ems.forecast.announced import AnnouncedLoad, WithAnnounced
from ems.forecast.carbon import carbon
from ems.forecast.catalogue import NAMES, load_forecaster, usual_leads
from ems.forecast.evaluate import Series, issue_all, score_series, yardsticks
from ems.forecast.exogenous import Ahead
from ems.forecast.frequency import droop_throughput
from ems.forecast.peaks import PeakForecaster
from ems.forecast.price import RealTime, usual_day
from ems.forecast.protocol import MEDIAN, history_of
from ems.forecast.renewable import Irradiance
from ems.forecast.validators import LOAD, screened
from ems.forecast.weather import temperature, wet_bulb
from tests.forecast.series_maker import DAY, FIRST, STEP_S, daily, known

LEADS = usual_leads(STEP_S, (1 / 6, 1.0, 6.0))
CUT = int(1.3 * DAY)
TRIED = ("persistence", "day-ago", "week-ago", "period", "linear", "ensemble", "fallback")
POISONS = (np.nan, 0.0, 1e9, -1e9)


def poisoned(values, poison):
    out = values.copy()
    out[CUT:] = poison
    return out


def test_every_forecaster_of_the_catalogue_is_tried_here():
    assert set(TRIED) | {"trees"} == set(NAMES)


@pytest.mark.parametrize("name", TRIED)
def test_poisoning_the_future_changes_no_earlier_forecast(name):
    values = daily(1.5)
    ours = issue_all(load_forecaster(name, LEADS, 0.0), known(values)).values[: CUT + 1]
    assert np.isfinite(ours[20:]).all()
    for poison in POISONS[1:3] if name in ("ensemble", "linear") else POISONS:
        theirs = issue_all(load_forecaster(name, LEADS, 0.0), known(poisoned(values, poison))).values[: CUT + 1]
        assert np.array_equal(ours, theirs, equal_nan=True)


def test_trees_are_fitted_to_the_past_alone():
    values = daily(2.3)
    cut, told = int(2.1 * DAY), []
    for poison in (None, 1e9):
        series = values.copy()
        series[cut:] = series[cut:] if poison is None else poison
        forecaster = load_forecaster("trees", usual_leads(STEP_S), 0.0)
        said = [forecaster.update(known(series).until(FIRST + end)) for end in range(int(1.95 * DAY), cut + 1, 3)]
        assert said[-1].source == "trees" and not said[-1].reason
        told.append(np.array([f.values for f in said]))
    assert np.array_equal(told[0], told[1], equal_nan=True)


HOURLY = np.array([1, 6, 24])
MARKETS = {  # the next day's prices are tried in test_price_dayahead.py
    "usual day": lambda: usual_day(HOURLY, 3600.0),
    "real time": lambda: RealTime(HOURLY, 3600.0),
    "carbon": lambda: carbon(HOURLY, 3600.0),
    "temperature": lambda: temperature(HOURLY, 3600.0),
    "wet bulb": lambda: wet_bulb(HOURLY, 3600.0),
    "irradiance": lambda: Irradiance(HOURLY),
    "droop": lambda: droop_throughput(HOURLY),
}


@pytest.mark.parametrize("name", MARKETS)
def test_poisoning_the_future_of_a_market_or_the_weather_changes_nothing_before(name):
    rng = np.random.default_rng(6)
    values = np.maximum(0.0, 20.0 + 12.0 * np.sin(2 * np.pi * np.arange(40 * 24) / 24) + rng.normal(0, 3, 40 * 24))
    cut, told = 36 * 24, []
    for poison in (None, 1e6, np.nan):
        series = values.copy()
        series[cut:] = series[cut:] if poison is None else poison
        forecaster, history = MARKETS[name](), history_of(series, 3600.0, 24 * 20_000)
        told.append(np.array([forecaster.update(history.until(history.first + end)).values for end in range(24, cut + 1, 24)]))
    assert np.isfinite(told[0][-1]).all()
    assert all(np.array_equal(told[0], other, equal_nan=True) for other in told[1:])


def test_a_day_ahead_price_is_not_looked_at_before_its_publication():
    rng = np.random.default_rng(7)
    values = 30.0 + 10.0 * np.sin(2 * np.pi * np.arange(14 * 24) / 24) + rng.normal(0, 2, 14 * 24)
    first, published = 24 * 20_000, 12 * 24 + 13  # the price of the last day is known from 13 h of the day before
    told = []
    for price in (30.0, 900.0):
        ahead = values.copy()
        ahead[13 * 24 :] = price
        known_from = first + np.maximum(0, np.arange(14 * 24) // 24 - 1) * 24 + 13
        forecaster = RealTime(np.arange(1, 36), 3600.0)
        forecaster.ahead = Ahead(first, ahead, known_from)
        history = history_of(values, 3600.0, first)
        told.append([forecaster.update(history.until(first + end)).values for end in range(25, published + 1, 4)])
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(told[0][:-1], told[1][:-1], strict=True))
    assert np.abs(told[0][-1] - told[1][-1]).max() > 100.0


def test_poisoning_the_past_does_change_it():
    values = daily(1.5)
    ours = issue_all(load_forecaster("linear", LEADS, 0.0), known(values)).values
    values[CUT - 1] += 300.0
    assert not np.array_equal(ours[CUT], issue_all(load_forecaster("linear", LEADS, 0.0), known(values)).values[CUT])


def test_a_job_is_unknown_before_it_is_announced():
    def at(cell: int) -> datetime:
        return datetime.fromtimestamp((FIRST + cell) * STEP_S, UTC)

    values = daily(2)
    plain, told = load_forecaster("linear", LEADS), WithAnnounced(load_forecaster("linear", LEADS))
    told.announce([AnnouncedLoad(at(250), at(254), at(270), 400.0)])
    without, informed = issue_all(plain, known(values)).values, issue_all(told, known(values)).values
    assert np.array_equal(without[:250], informed[:250], equal_nan=True)
    assert (informed[250][MEDIAN:, 1] > without[250][MEDIAN:, 1] + 100.0).all()


def test_yardsticks_see_no_more_than_the_forecasters():
    values = daily(3)
    cut = int(2.5 * DAY)
    later = values.copy()
    later[cut:] = 1e6
    for lead in (1, 6):
        ours, theirs = (yardsticks(Series("s", v, STEP_S, "kW"), lead) for v in (values, later))
        for name in ours:
            assert np.array_equal(ours[name][: cut + 1], theirs[name][: cut + 1], equal_nan=True), name


def test_peaks_and_judgements_depend_on_the_past_alone():
    values = daily(1)
    a, b = PeakForecaster(1200.0, step_s=10.0), PeakForecaster(1200.0, step_s=10.0)
    for v in values[:80]:
        a.observe(v)
        b.observe(v)
    said = a.forecast(datetime(2024, 1, 1, tzinfo=UTC)).peaks_kw
    a.observe(1e4)
    assert np.array_equal(said, b.forecast(datetime(2024, 1, 1, tzinfo=UTC)).peaks_kw)
    history, _ = screened(values, STEP_S, LOAD)
    cut, _ = screened(values[:80], STEP_S, LOAD)
    assert np.array_equal(history.is_estimate[:80], cut.is_estimate)


def test_the_same_series_scores_the_same_twice():
    series = Series("s", daily(1.5), STEP_S, "kW")
    assert score_series(series, ["linear"], [600.0]) == score_series(series, ["linear"], [600.0])
