"""No forecast sees the future: what comes after its instant may be anything, and changes nothing said before."""

from datetime import UTC, datetime

import numpy as np
import pytest

from ems.forecast.announced import AnnouncedLoad, WithAnnounced
from ems.forecast.catalogue import load_forecaster, usual_leads
from ems.forecast.evaluate import Series, issue_all, score_series, yardsticks
from ems.forecast.peaks import PeakForecaster
from ems.forecast.protocol import MEDIAN
from ems.forecast.validators import LOAD, screened
from tests.forecast.series_maker import DAY, FIRST, STEP_S, daily, known

LEADS = usual_leads(STEP_S, (1 / 6, 1.0, 6.0))
CUT = int(1.3 * DAY)
POISONS = (np.nan, 0.0, 1e9, -1e9)


def poisoned(values, poison):
    out = values.copy()
    out[CUT:] = poison
    return out


@pytest.mark.parametrize("name", ["persistence", "day-ago", "period", "linear", "ensemble", "fallback"])
def test_poisoning_the_future_changes_no_earlier_forecast(name):
    values = daily(1.5)
    ours = issue_all(load_forecaster(name, LEADS, 0.0), known(values)).values[: CUT + 1]
    assert np.isfinite(ours[20:]).all()
    for poison in POISONS[1:3] if name in ("ensemble", "linear") else POISONS:
        theirs = issue_all(load_forecaster(name, LEADS, 0.0), known(poisoned(values, poison))).values[: CUT + 1]
        assert np.array_equal(ours, theirs, equal_nan=True)


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
