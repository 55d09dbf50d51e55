"""Generated series for the forecast tests."""

import numpy as np

from ems.forecast.protocol import History, history_of

STEP_S = 600.0
DAY = 144
FIRST = 2_844_000  # a cell in 2024


def daily(days: float, seed: int = 3, noise: float = 20.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    t = np.arange(int(days * DAY)) / DAY
    rough = 1.0 + 0.8 * np.sin(2 * np.pi * t + 1.0)
    return 600 + 200 * np.sin(2 * np.pi * t) + noise * rough * rng.standard_t(4, len(t))


def known(values) -> History:
    return history_of(np.asarray(values, float), STEP_S, FIRST)
