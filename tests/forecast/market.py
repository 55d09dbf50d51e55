"""Made-up market series for the forecast tests: a daily shape, slow weather, spikes; hourly cells from a fixed instant."""

import numpy as np

from ems.forecast.exogenous import Ahead
from ems.forecast.protocol import Floats, History, history_of

FIRST = 473_358  # a cell of an hour: 2024-01-01T06:00Z, midnight in Chicago in winter
STEP_S = 3600.0
DAY = 24


def prices(days: int, seed: int = 1, spikes: float = 0.002) -> Floats:
    rng = np.random.default_rng(seed)
    n = days * DAY
    slow = np.zeros(n)
    for i in range(1, n):
        slow[i] = 0.96 * slow[i - 1] + rng.normal(0.0, 1.2)
    shape = 25.0 + 10.0 * np.sin(2 * np.pi * (np.arange(n) - 10) / DAY)
    return shape + slow + rng.normal(0.0, 1.0, n) + 300.0 * (rng.random(n) < spikes)


def history(values: Floats, zone: str = "America/Chicago") -> History:
    return history_of(values, STEP_S, FIRST, zone)


def published(values: Floats, noise: float = 3.0, seed: int = 2) -> Ahead:
    """Hourly day-ahead prices near the truth, each day's known from half a day before it begins."""
    rng = np.random.default_rng(seed)
    told = values + rng.normal(0.0, noise, len(values))
    cells = FIRST + np.arange(len(values))
    known_from = FIRST + (cells - FIRST) // DAY * DAY - DAY // 2
    return Ahead(FIRST, told, known_from.astype(np.intp))
