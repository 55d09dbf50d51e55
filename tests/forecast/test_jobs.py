"""Announced load in the plan's load sources: known from its announcement on, believed as far as it comes true."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from ems.forecast.announced import AnnouncedLoad
from ems.forecast.jobs import SourceWithJobs, decode_announced
from ems.forecast.quantiles import LEVELS, Quantiles
from ems.forecast.served import load_source

NOON = datetime(2024, 8, 20, 12, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
JOB = AnnouncedLoad(NOON, NOON + 2 * HOUR, NOON + 4 * HOUR, 100.0)


class Level:
    """Always says 200 kW, 10 either way, and remembers what it was taught."""

    def __init__(self) -> None:
        self.taught: list[float | None] = []

    def observe(self, start: datetime, duration_s: float, mean_kw: float | None) -> None:
        self.taught.append(mean_kw)

    def forecast(self, now: datetime, starts, duration_h) -> Quantiles:
        kw = dict(zip(LEVELS, (190.0, 200.0, 210.0, 220.0), strict=True))
        return Quantiles(tuple(starts), tuple(duration_h), {level: np.full(len(starts), kw[level]) for level in LEVELS})

    def max_quantile(self, now: datetime, hours: float, level: float = 0.99) -> float:
        return 230.0


def announced(*jobs: AnnouncedLoad, rating_kw: float = 600.0) -> tuple[Level, SourceWithJobs]:
    level = Level()
    source = SourceWithJobs(level, rating_kw)
    source.announce(jobs)
    return level, source


def ahead(source: SourceWithJobs, now: datetime, level: float = 0.5) -> list[float]:
    return source.forecast(now, [NOON + i * HOUR for i in range(6)], [1.0] * 6).q(level).tolist()


def test_a_job_is_in_the_forecast_from_its_announcement_on_and_only_while_it_runs():
    _, source = announced(JOB)
    assert ahead(source, NOON - HOUR) == [200.0] * 6
    with_job = ahead(source, NOON, 0.9)
    assert with_job[:2] == with_job[4:] == [210.0, 210.0]
    assert min(with_job[2:4]) > 295.0
    assert min(ahead(source, NOON)[2:4]) > 280.0


def test_a_doubtful_job_is_in_the_upper_quantiles_alone():
    _, source = announced(AnnouncedLoad(NOON, NOON, NOON + HOUR, 100.0, confidence=0.2))
    assert ahead(source, NOON)[0] < 215.0
    assert source.forecast(NOON, [NOON], [1.0]).q(0.99)[0] > 290.0


def test_a_job_never_lifts_a_forecast_above_the_rating_and_the_reserve_counts_it_whole():
    assert max(ahead(announced(JOB, rating_kw=250.0)[1], NOON, 0.99)) == 250.0
    assert announced(JOB)[1].max_quantile(NOON, 3.0) == pytest.approx(330.0)
    assert announced(JOB)[1].max_quantile(NOON, 1.0) == pytest.approx(230.0)


def test_a_job_that_runs_is_taken_out_of_what_is_learnt():
    level, source = announced(JOB)
    source.observe(NOON + HOUR, 60.0, 300.0)
    source.observe(NOON + 2 * HOUR, 60.0, 300.0)
    source.observe(NOON + 2 * HOUR + MINUTE, 60.0, None)
    assert level.taught == [300.0, 200.0, None]


def test_a_false_announcement_is_dropped_within_minutes_and_its_source_believed_less():
    level, source = announced(JOB, AnnouncedLoad(NOON, NOON + 24 * HOUR, NOON + 25 * HOUR, 100.0))
    before = source.forecast(NOON, [NOON + 24 * HOUR], [1.0]).q(0.5)[0]
    for minute in range(125):
        source.observe(NOON + 2 * HOUR + minute * MINUTE, 60.0, 200.0)
        if minute == 10:
            assert ahead(source, NOON + 2 * HOUR + 11 * MINUTE)[3] < 205.0
    assert level.taught[-1] == 200.0
    after = source.forecast(NOON + 5 * HOUR, [NOON + 24 * HOUR], [1.0]).q(0.5)[0]
    assert after < before


def test_a_job_that_comes_true_is_believed_to_its_end():
    _, source = announced(JOB)
    for minute in range(20):
        source.observe(NOON + 2 * HOUR + minute * MINUTE, 60.0, 300.0)
    assert ahead(source, NOON + 2 * HOUR + 20 * MINUTE, 0.1)[3] == pytest.approx(290.0, abs=1.0)


def test_the_same_job_again_replaces_it_and_no_power_withdraws_it():
    _, source = announced(JOB, AnnouncedLoad(NOON, JOB.start, JOB.end, 0.0))
    assert ahead(source, NOON, 0.99) == [220.0] * 6


@pytest.mark.parametrize("broken", [{}, {"loads": [{"cluster": "hall-b"}]}, {"loads": 7}])
def test_a_message_that_is_no_announcement_is_refused(broken: dict[str, object]):
    with pytest.raises((KeyError, TypeError, ValueError)):
        decode_announced(broken)


def test_every_forecaster_serves_the_plan_with_ordered_quantiles_of_the_load():
    rng = np.random.default_rng(3)
    for name in ("online", "persistence", "day-ago", "ensemble"):
        source = load_source(600.0, 100.0, name)
        for i in range(12 * 30):
            source.observe(NOON + 5 * i * MINUTE, 300.0, 300.0 + 10.0 * float(rng.standard_normal()))
        now = NOON + 30 * HOUR
        q = source.forecast(now, [now + i * HOUR for i in range(48)], [1.0] * 48)
        rows = np.stack([q.q(level) for level in LEVELS])
        assert (np.diff(rows, axis=0) >= -1e-9).all() and (rows <= 600.0).all()
        assert abs(q.q(0.5)[0] - 300.0) < 30.0, name
        assert source.max_quantile(now, 2.0) >= 300.0
