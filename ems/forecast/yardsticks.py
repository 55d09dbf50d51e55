"""What a forecast has to beat: naive points with the quantiles of their own errors, and a linear regression fitted anew every day."""

from __future__ import annotations

from bisect import insort

import numpy as np

from ems.forecast.naive import DAY_S, WEEK_S
from ems.forecast.protocol import LEVEL_ARRAY, Floats, Ints

LEAST_ERRORS = 10
RIDGE = 1e-3
NAIVE = ("persistence", "day-ago", "week-ago")


def naive_points(name: str, values: Floats, lead: int, step_s: float) -> Floats:
    """Per end of history (0 … len(values)) the naive forecast `lead` cells ahead, NaN where unknown."""
    filled = held(values)
    ends = np.arange(len(values) + 1)
    if name == "persistence":
        return np.where(ends > 0, filled[np.maximum(ends - 1, 0)], np.nan)
    period = max(1, round({"day-ago": DAY_S, "week-ago": WEEK_S}[name] / step_s))
    source = ends + lead - 1 - period * -(-lead // period)
    return np.where(source >= 0, filled[np.clip(source, 0, len(values) - 1)], np.nan)


def linear_points(values: Floats, lead: int, step_s: float) -> Floats:
    """Per end of history the forecast of a ridge regression on lags, days, week and harmonics, fitted once a day on all before."""
    n, day = len(values), max(1, round(DAY_S / step_s))
    x = np.array([_row(held(values), end, lead, day) for end in range(n + 1)])
    points, weights = np.full(n + 1, np.nan), None
    for end in range(n + 1):
        if end % day == 0 and end >= 2 * day:
            weights = _fit(x[: end - lead + 1], values[lead - 1 : end])
        if weights is not None:
            points[end] = x[end] @ weights
    return points


def own_error_quantiles(values: Floats, points: Floats, lead: int) -> Floats:
    """`[end, level]`: each point plus the quantiles of all errors of this lead that were known at that end."""
    quantiles = np.full((len(points), len(LEVEL_ARRAY)), np.nan)
    errors: list[float] = []
    for end in range(len(points)):
        made_at = end - lead  # the target of that forecast became known just now
        if made_at >= 0 and np.isfinite(points[made_at]) and np.isfinite(values[end - 1]):
            insort(errors, float(values[end - 1] - points[made_at]))
        if len(errors) >= LEAST_ERRORS:
            place = LEVEL_ARRAY * (len(errors) - 1)
            quantiles[end] = points[end] + np.interp(place, np.arange(len(errors)), errors)
    return quantiles


def held(values: Floats) -> Floats:
    """Missing values replaced by the newest before them."""
    finite = np.isfinite(values)
    places: Ints = np.maximum.accumulate(np.where(finite, np.arange(len(values)), 0))
    return values[places]


def _row(values: Floats, end: int, lead: int, day: int) -> Floats:
    target = end + lead - 1
    lags = [end - 1, end - 2, end - 3, target - day * -(-lead // day), end - 1 - day, target - 7 * day * -(-lead // (7 * day))]
    angle = 2.0 * np.pi * (target % day) / day
    waves = [np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle), 1.0]
    return np.array([values[max(0, i)] if len(values) else np.nan for i in lags] + waves)


def _fit(x: Floats, y: Floats) -> Floats:
    ok = np.isfinite(y) & np.isfinite(x).all(axis=1)
    if not ok.any():
        return np.full(x.shape[1], np.nan)
    a, b = x[ok], y[ok]
    scale = float(np.abs(b).mean()) + 1e-12
    gram = a.T @ a + RIDGE * scale**2 * len(b) * np.eye(a.shape[1]) / 100.0
    return np.asarray(np.linalg.solve(gram, a.T @ b), dtype=np.float64)
