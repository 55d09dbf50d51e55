"""The true future of the oracle."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from ems.replay.future import TrueLoad, TrueSeries

NOON = datetime(2024, 8, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_the_oracle_sees_exact_means_and_repeats_the_last_day_beyond_the_data():
    values = np.arange(288.0)
    load = TrueLoad(TrueSeries.of(NOON.timestamp(), 300.0, values))
    q = load.forecast(NOON, [NOON, NOON + timedelta(minutes=7.5), NOON + 24 * HOUR], [1 / 12, 1 / 12, 1 / 12])
    assert q.q(0.5).tolist() == pytest.approx([0.0, 1.5, 0.0])
    assert q.q(0.1).tolist() == q.q(0.99).tolist()
    assert load.max_quantile(NOON, 1.0) == pytest.approx(11.0)


def test_means_are_those_of_the_line_through_the_integral_wherever_they_begin() -> None:
    rng = np.random.default_rng(5)
    series = TrueSeries.of(1000.0, 5.0, rng.uniform(0.0, 900.0, 4000))
    at_s = np.concatenate(
        [rng.uniform(0.0, 1000.0 + 5.0 * (len(series.total) + 10), 500), [1000.0, 1000.0 + 5.0 * (len(series.total) - 1)]]
    )
    position = np.clip((at_s - 1000.0) / 5.0, 0.0, len(series.total) - 1.0)
    assert series._until(at_s) == pytest.approx(np.interp(position, np.arange(len(series.total)), series.total), rel=1e-12, abs=1e-6)
