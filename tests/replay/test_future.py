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
