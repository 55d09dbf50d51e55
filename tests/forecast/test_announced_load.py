"""Announced load shifts the quantiles by how sure it is; a job that does not come is dropped within minutes."""

from datetime import UTC, datetime

import numpy as np
import pytest

from ems.forecast.announced import AnnouncedLoad, WithAnnounced, merged
from ems.forecast.catalogue import load_forecaster
from ems.forecast.protocol import LEVELS, MEDIAN
from tests.forecast.series_maker import FIRST, STEP_S, daily, known

LEADS = np.array([1, 6])
START, END = 300, 318
VALUES = daily(3, noise=5.0)


def at(cell: float) -> datetime:
    return datetime.fromtimestamp((FIRST + cell) * STEP_S, UTC)


def job(power=300.0, confidence=1.0, start=START, end=END):
    return AnnouncedLoad(at(start - 24), at(start), at(end), power, confidence)


def middles(values, loads, ends):
    forecaster = WithAnnounced(load_forecaster("linear", LEADS))
    forecaster.announce(loads)
    out = {}
    for end in range(200, max(ends) + 1):
        f = forecaster.update(known(values[:end]))
        if end in ends:
            out[end] = f.values[:, 0]
    return forecaster, out


def test_a_mixture_of_with_and_without_has_its_quantiles_where_they_belong():
    values = np.repeat(np.linspace(-1.0, 1.0, len(LEVELS))[:, None], 2, axis=1)
    half = merged(values, np.array([100.0, 0.0]), 0.5)
    assert half[LEVELS.index(0.1), 0] < 2.0 and half[LEVELS.index(0.9), 0] > 98.0
    assert (half[:, 1] == values[:, 1]).all()
    assert merged(values, np.array([100.0, 0.0]), 1.0)[MEDIAN, 0] == pytest.approx(100.0, abs=0.1)


def test_a_job_that_comes_is_expected_before_it_starts_and_leaves_no_trace_after_it():
    real = VALUES.copy()
    real[START:END] += 300.0
    forecaster, said = middles(real, [job()], {START, START + 6, END + 6, END + 100})
    assert said[START][MEDIAN] == pytest.approx(real[START], abs=60.0)
    assert said[START + 6][MEDIAN] == pytest.approx(real[START + 6], abs=60.0)
    assert said[END + 6][MEDIAN] == pytest.approx(real[END + 6], abs=60.0)
    assert forecaster.probability(job()) > 0.95


def test_a_false_announcement_is_dropped_after_two_cells():
    forecaster, said = middles(VALUES, [job()], {START, START + 2, START + 6})
    assert said[START][MEDIAN] > VALUES[START] + 150.0
    for end in (START + 2, START + 6):
        assert said[end][MEDIAN] == pytest.approx(VALUES[end], abs=60.0)
    assert forecaster.probability(job()) < 0.1


def test_a_source_that_does_not_keep_its_word_is_trusted_less():
    loads = [job(start=s, end=s + 6) for s in (220, 240, 260, 280)]
    forecaster, _ = middles(VALUES, loads, {300})
    later = job(start=340, end=350)
    forecaster.announce([later])
    assert forecaster.probability(later) < 0.45


def test_an_unsure_job_moves_the_upper_quantiles_and_not_the_median():
    _, said = middles(VALUES, [job(confidence=0.3)], {START})
    _, plain = middles(VALUES, [], {START})
    assert said[START][-1] > plain[START][-1] + 200.0
    assert said[START][MEDIAN] == pytest.approx(plain[START][MEDIAN], abs=60.0)


def test_a_changed_announcement_replaces_the_first_one():
    _, said = middles(VALUES, [job(300.0), job(0.0)], {START})
    assert said[START][MEDIAN] == pytest.approx(VALUES[START], abs=60.0)


@pytest.mark.parametrize("wrong", [dict(end=START), dict(power=float("nan")), dict(confidence=1.2)])
def test_an_announcement_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        job(**wrong)
