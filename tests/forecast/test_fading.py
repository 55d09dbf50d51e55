"""The days before, moved by today: added where today is so much higher, multiplied where it is so many times as high."""

import numpy as np
import pytest

from ems.forecast.ensemble import PointMixture
from ems.forecast.fading import DaysBefore, FadingDeviation, FadingRatio
from ems.forecast.naive import Persistence, SeasonalNaive
from ems.forecast.protocol import history_of

DAY = 144
SHAPE = 300.0 + 200.0 * np.sin(2 * np.pi * np.arange(DAY) / DAY)
MORNING = 6  # 30 cells before the crest
TO_CREST = np.array([30])


def history(today: np.ndarray):
    return history_of(np.concatenate([SHAPE, SHAPE, today]), 600.0)


def test_a_service_twice_as_busy_as_yesterday_is_expected_to_have_a_crest_twice_as_high():
    twice = history(2.0 * SHAPE[:MORNING])
    expected = FadingRatio(DaysBefore(TO_CREST), 1e6).update(twice)[0]
    assert expected == pytest.approx(2.0 * SHAPE[MORNING + 29], rel=0.08)
    assert FadingDeviation(DaysBefore(TO_CREST), 1e6).update(twice)[0] < 0.95 * expected


def test_a_ratio_fades_back_to_the_days_and_never_runs_away():
    busy = history(2.0 * SHAPE[:MORNING])
    assert FadingRatio(DaysBefore(TO_CREST), 0.01).update(busy)[0] == pytest.approx(SHAPE[MORNING + 29], rel=0.01)
    from_nothing = history_of(np.concatenate([np.zeros(DAY), np.full(MORNING, 400.0)]), 600.0)
    assert 0.0 <= FadingRatio(DaysBefore(TO_CREST), 24.0).update(from_nothing)[0] <= 2000.0


def test_without_days_the_newest_value_is_said():
    assert list(FadingRatio(DaysBefore(np.array([1, 6])), 24.0).update(history_of(np.array([400.0, 410.0]), 600.0))) == [410.0, 410.0]
    assert np.isnan(FadingRatio(DaysBefore(np.array([1])), 24.0).update(history_of(np.empty(0), 600.0))).all()


def test_a_mixture_changes_its_mind_sooner_where_errors_do_not_overlap():
    leads = np.array([1, 6])
    mixture = PointMixture([Persistence(leads), SeasonalNaive(leads, 86400.0, "day-ago")])
    values = np.tile(np.random.default_rng(2).normal(500.0, 100.0, DAY), 3)  # day-ago is exact
    odds = []
    for end in range(DAY, DAY + 60):
        mixture.update(history_of(values[:end], 600.0))
        odds.append(np.log(mixture.weights[:, 1] / mixture.weights[:, 0]))
    short, long = odds[-1] - odds[0]
    assert short > 3.0 * long > 0.0
