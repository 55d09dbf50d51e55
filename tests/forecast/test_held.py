"""Quantiles hold what they promise, widen while the feed is broken, and stop widening with it."""

import numpy as np
import pytest

from ems.forecast.catalogue import load_forecaster, usual_leads
from ems.forecast.conformal import Conformal, silent_cells
from ems.forecast.dressed import Dressed
from ems.forecast.evaluate import Series, issue_all, score_series
from ems.forecast.measures import Q10, Q90, block_error, crps, interval_score, measure, pinball, shared
from ems.forecast.naive import Persistence, detected_period
from ems.forecast.protocol import LEVEL_ARRAY, LEVELS, MEDIAN, Forecast, History, history_of, issue
from tests.forecast.series_maker import DAY, FIRST, STEP_S, daily, known

LEADS = np.array([1, 3, 6])


class Overconfident:
    """Says less than the newest value, with far too little above."""

    name = "overconfident"
    leads = LEADS

    def update(self, history: History) -> Forecast:
        newest = history.values[-1] if len(history.values) else np.nan
        values = newest - 40.0 + np.outer(LEVEL_ARRAY * 40.0, np.ones(len(LEADS)))
        return issue(history, self.name, LEADS, values)


def coverage(forecaster, values, lead_at=0):
    issued = issue_all(forecaster, known(values))
    lead = int(issued.leads[lead_at])
    ends = np.arange(len(values) // 2, len(values) - lead + 1)
    actual, said = values[ends + lead - 1], issued.values[ends, :, lead_at]
    return (actual[:, None] <= said).mean(axis=0)


def test_a_forecaster_that_is_wrong_on_one_side_is_corrected_on_that_side():
    held = coverage(Conformal(Overconfident(), rates=(0.1,)), 500.0 + np.random.default_rng(4).normal(0, 10, 3000))
    plain = coverage(Overconfident(), 500.0 + np.random.default_rng(4).normal(0, 10, 3000))
    assert plain[Q90] < 0.5
    assert held[Q90] == pytest.approx(0.9, abs=0.05) and held[Q10] < 0.15


def test_the_ensemble_holds_on_a_series_whose_noise_changes_over_the_day():
    rows = score_series(Series("s", daily(8, noise=25.0), STEP_S, "kW"), ["ensemble"], [600.0, 3600.0])
    for row in rows:
        if row.forecaster == "ensemble":
            assert row.measures.coverage == pytest.approx(0.8, abs=0.06), row
            assert row.measures.coverage_q99 == pytest.approx(0.99, abs=0.015), row
    ours, naive = (
        next(r.measures for r in rows if r.lead_s == 3600.0 and r.forecaster == n) for n in ("ensemble", "persistence (own errors)")
    )
    assert ours.pinball_q90 < 0.95 * naive.pinball_q90 and ours.interval_score < 0.95 * naive.interval_score


def test_quantiles_widen_while_values_are_estimates_and_not_a_cell_longer():
    values = daily(4)
    estimate = np.zeros(len(values), dtype=bool)
    estimate[400:420] = True
    broken, whole = [], []
    for marks, widths in ((estimate, broken), (np.zeros_like(estimate), whole)):
        forecaster = Conformal(Dressed(Persistence(LEADS), is_scaled=False))
        for end in range(1, 423):
            f = forecaster.update(History(STEP_S, FIRST, values[:end], marks[:end]))
            widths.append(f.values[Q90, 0] - f.values[Q10, 0])
    assert broken[418] > 3.0 * whole[418]
    assert broken[420] == pytest.approx(whole[420], rel=0.1)
    assert broken[399] == whole[399]
    assert silent_cells(History(STEP_S, FIRST, values, estimate)) == 0


def test_hours_at_rest_do_not_widen_the_others():
    """Half of every day exactly zero and forecast so, as at night; the other half noise."""
    rng = np.random.default_rng(5)
    values = np.where(np.arange(60 * DAY) % DAY < DAY // 2, 0.0, 300.0 + rng.normal(0, 30, 60 * DAY))

    class Rests:
        name, leads = "rests", np.array([1])

        def update(self, history: History) -> Forecast:
            by_day = history.end % DAY >= DAY // 2
            q = 300.0 + 30.0 * np.linspace(-1.6, 1.6, len(LEVELS)) if by_day else np.zeros(len(LEVELS))
            return issue(history, self.name, self.leads, q[:, None])

    issued = issue_all(Conformal(Rests(), low=0.0), history_of(values, STEP_S, 0)).values[:-1, :, 0]
    by_day = np.arange(len(values)) % DAY >= DAY // 2
    later = by_day & (np.arange(len(values)) > 30 * DAY)
    for level in (Q10, Q90):
        assert (values[later] <= issued[later, level]).mean() == pytest.approx(LEVELS[level], abs=0.03)
    assert (issued[~by_day][5:] == 0.0).all()


def test_a_truth_exactly_on_its_quantiles_counts_by_their_share():
    resting = np.zeros((3, len(LEVELS)))
    resting[1:, LEVELS.index(0.6) :] = 5.0
    share = shared(np.array([0.0, 0.0, 7.0]), resting)
    assert share == pytest.approx([0.8 / 0.98, 0.4 / 0.49, 0.0])
    assert measure(np.zeros(50), np.zeros((50, len(LEVELS))), 5).coverage == 1.0


def test_estimates_teach_nothing():
    values = daily(4)
    estimate = np.zeros(len(values), dtype=bool)
    estimate[300:310] = True
    wild = values.copy()
    wild[309] = values[309]  # the newest before the fault's end is what both look at
    wild[300:309] += 5000.0
    forecasts = []
    for v in (values, wild):
        forecaster = Dressed(Persistence(LEADS), is_scaled=False)
        for end in range(1, 501):
            f = forecaster.update(History(STEP_S, FIRST, v[:end], estimate[:end]))
        forecasts.append(f.values)
    assert (forecasts[1][-1] - forecasts[0][-1]).max() < 5000.0 * 0.5


def test_a_period_in_the_series_is_found_and_noise_has_none():
    t = np.arange(600)
    assert detected_period(known(np.sin(2 * np.pi * t / 30) + 0.1 * np.random.default_rng(1).normal(size=600))) % 30 == 0
    assert detected_period(known(np.random.default_rng(2).normal(size=600))) == 0
    assert detected_period(known(np.ones(600))) == 0


def test_quantiles_never_cross_and_stay_within_their_bounds():
    issued = issue_all(load_forecaster("ensemble", usual_leads(STEP_S), 0.0, 900.0), known(daily(2, noise=120.0))).values[5:]
    assert (np.diff(issued, axis=1) >= -1e-9).all()
    assert issued.min() >= 0.0 and issued.max() <= 900.0


def test_measures_agree_with_their_definitions():
    assert pinball(np.array([2.0, -2.0]), 0.9) == pytest.approx([1.8, 0.2])
    assert interval_score(np.array([5.0]), np.array([6.0]), np.array([10.0]))[0] == pytest.approx(4.0 + 10.0)
    normal = np.random.default_rng(5).normal(size=20000)
    z = np.quantile(np.random.default_rng(6).normal(size=200000), LEVEL_ARRAY)
    assert crps(pinball(normal[:, None] - z, LEVEL_ARRAY).mean(axis=0)) == pytest.approx(0.5642, abs=0.02)  # sigma / sqrt(pi)
    assert LEVELS[MEDIAN] == 0.5


def test_errors_that_come_in_blocks_make_a_share_less_sure():
    rng = np.random.default_rng(1)
    alone = rng.random(1200) < 0.8
    together = np.repeat(rng.random(12) < 0.8, 100)
    assert block_error(alone, 100) == pytest.approx(np.sqrt(0.16 / 1200), rel=0.4)
    assert block_error(together, 100) > 4.0 * block_error(alone, 100)


def test_a_week_of_history_is_as_long_as_memory_gets():
    forecaster = load_forecaster("linear", LEADS)
    values = daily(7.5)
    for end in range(1, len(values) + 1):
        forecaster.update(known(values[:end]))
    assert forecaster.inner.inner._errors._errors.shape == (3, 7 * DAY)
