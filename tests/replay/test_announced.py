"""Announced load in the forecasts, and the true future of the oracle."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from ems.forecast.quantiles import LEVELS, Quantiles
from ems.replay.announced import WithAnnounced
from ems.replay.future import TrueLoad, TrueSeries
from ems.replay.scenario import JobEntry

NOON = datetime(2024, 8, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
JOB = JobEntry.model_construct(cluster="hall-b", announced_at=NOON, start=NOON + 2 * HOUR, end=NOON + 4 * HOUR, kw=100.0)


class Level:
    """A forecaster that always says 200 kW and remembers what it was taught."""

    def __init__(self) -> None:
        self.taught: list[float | None] = []

    def observe(self, start: datetime, duration_s: float, mean_kw: float | None) -> None:
        self.taught.append(mean_kw)

    def forecast(self, now: datetime, starts, duration_h) -> Quantiles:
        return Quantiles(tuple(starts), tuple(duration_h), {level: np.full(len(starts), 200.0) for level in LEVELS})

    def max_quantile(self, now: datetime, hours: float, level: float = 0.99) -> float:
        return 230.0


def ahead(source: WithAnnounced, now: datetime) -> list[float]:
    starts = [NOON + i * HOUR for i in range(6)]
    return source.forecast(now, starts, [1.0] * 6).q(0.5).tolist()


def test_a_job_is_in_the_forecast_from_its_announcement_on_and_only_while_it_runs():
    source = WithAnnounced(Level(), 600.0, [JOB])
    assert ahead(source, NOON - HOUR) == [200.0] * 6
    assert ahead(source, NOON) == [200.0, 200.0, 300.0, 300.0, 200.0, 200.0]


def test_a_job_never_lifts_a_forecast_above_the_rating():
    assert max(ahead(WithAnnounced(Level(), 250.0, [JOB]), NOON)) == 250.0
    assert WithAnnounced(Level(), 600.0, [JOB]).max_quantile(NOON, 3.0) == pytest.approx(330.0)


def test_the_forecaster_learns_the_load_without_the_job():
    level = Level()
    source = WithAnnounced(level, 600.0, [JOB])
    for hour in (1, 2, 5):
        source.observe(NOON + hour * HOUR, 60.0, 300.0)
    source.observe(NOON + 2 * HOUR, 60.0, None)
    assert level.taught == [300.0, 200.0, 300.0, None]


def test_the_oracle_sees_exact_means_and_repeats_the_last_day_beyond_the_data():
    values = np.arange(288.0)
    load = TrueLoad(TrueSeries.of(NOON.timestamp(), 300.0, values))
    q = load.forecast(NOON, [NOON, NOON + timedelta(minutes=7.5), NOON + 24 * HOUR], [1 / 12, 1 / 12, 1 / 12])
    assert q.q(0.5).tolist() == pytest.approx([0.0, 1.5, 0.0])
    assert q.q(0.1).tolist() == q.q(0.99).tolist()
    assert load.max_quantile(NOON, 1.0) == pytest.approx(11.0)
