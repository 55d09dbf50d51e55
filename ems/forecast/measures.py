"""Measures of quantile forecasts against what came true, and how sure a share is when errors come in blocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ems.forecast.protocol import LEVEL_ARRAY, LEVELS, MEDIAN, Bools, Floats

Q10, Q90, Q99 = LEVELS.index(0.1), LEVELS.index(0.9), LEVELS.index(0.99)
RESAMPLES, SEED = 400, 7
EXACT = 1e-9  # relative; closer than this a truth lies on a quantile


@dataclass(frozen=True)
class Measures:
    """Over `n` forecasts of one lead, in the series' unit; coverages are fractions, `*_error` their block-bootstrap standard errors.

    `coverage` is the share of truths between q10 and q90, those exactly on them counted as held; `coverage_shared` counts a truth that lies
    exactly on quantiles (a series at rest on zero or a floor) by the share of its levels that are within (`shared`), and is what is judged.
    """

    n: int
    mae: float
    pinball_q50: float
    pinball_q90: float
    pinball_q99: float
    coverage: float
    coverage_shared: float
    coverage_error: float
    coverage_q99: float
    coverage_q99_error: float
    width: float
    interval_score: float
    crps: float
    quarters: tuple[float, float, float, float]  # coverage of q10-q90 in each quarter of the span

    @property
    def is_covered(self) -> bool:
        """q10-q90 holds 80 % within max(3 points, 2 errors), truths exactly on quantiles shared."""
        return abs(self.coverage_shared - 0.8) <= max(0.03, 2.0 * self.coverage_error) + 1e-9

    @property
    def is_covered_q99(self) -> bool:
        """q99 holds 99 % within max(0.7 points, 2 errors)."""
        return abs(self.coverage_q99 - 0.99) <= max(0.007, 2.0 * self.coverage_q99_error) + 1e-9


def measure(actual: Floats, values: Floats, block: int) -> Measures:
    """Measures of `values[forecast, level]` against `actual[forecast]`; neighbours within `block` forecasts are not independent."""
    low, middle, high, top = values[:, Q10], values[:, MEDIAN], values[:, Q90], values[:, Q99]
    held, held_top = (low <= actual) & (actual <= high), actual <= top
    by_share = shared(actual, values)
    losses = pinball(actual[:, None] - values, LEVEL_ARRAY).mean(axis=0)
    return Measures(
        len(actual),
        float(np.abs(actual - middle).mean()),
        float(losses[MEDIAN]),
        float(losses[Q90]),
        float(losses[Q99]),
        float(held.mean()),
        float(by_share.mean()),
        block_error(by_share, block),
        float(held_top.mean()),
        block_error(held_top, block),
        float((high - low).mean()),
        float(interval_score(actual, low, high).mean()),
        crps(losses),
        quarters(held),
    )


def pinball(error: Floats, level: Floats | float) -> Floats:
    """Pinball loss of `actual − quantile`."""
    loss: Floats = np.maximum(level * error, (np.asarray(level) - 1.0) * error)
    return loss


def interval_score(actual: Floats, low: Floats, high: Floats, outside: float = 0.2) -> Floats:
    """Width plus 2/outside times the distance beyond (Gneiting and Raftery 2007); the interval leaves out `outside`."""
    score: Floats = (high - low) + 2.0 / outside * (np.maximum(low - actual, 0.0) + np.maximum(actual - high, 0.0))
    return score


def crps(losses: Floats) -> float:
    """Twice the integral of the pinball losses over the level, trapezoid, the ends held constant."""
    edges = np.concatenate([[0.0], 0.5 * (LEVEL_ARRAY[1:] + LEVEL_ARRAY[:-1]), [1.0]])
    return float(2.0 * np.sum(np.diff(edges) * losses))


def shared(actual: Floats, values: Floats, low: float = 0.1, high: float = 0.9) -> Floats:
    """Per forecast 1 or 0 for a truth within or outside the levels low … high. One that lies exactly on several quantiles is somewhere
    between their levels: it counts by the share of those within low … high (Czado, Gneiting, Held 2009)."""
    on_it = np.abs(values - actual[:, None]) <= EXACT * np.maximum(1.0, np.abs(actual[:, None]))
    first = np.where(on_it, LEVEL_ARRAY, np.inf).min(axis=1, initial=np.inf)
    last = np.where(on_it, LEVEL_ARRAY, -np.inf).max(axis=1, initial=-np.inf)
    several = last > first
    length = np.where(several, last - first, 1.0)
    part = np.clip(np.minimum(last, high) - np.maximum(first, low), 0.0, None) / length
    within = (values[:, LEVELS.index(low)] <= actual) & (actual <= values[:, LEVELS.index(high)])
    return np.where(several, part, within.astype(float))


def quarters(held: Bools) -> tuple[float, float, float, float]:
    """Share in each quarter of the span."""
    a, b, c, d = (float(part.mean()) if len(part) else float("nan") for part in np.array_split(held, 4))
    return a, b, c, d


def block_error(held: Bools | Floats, block: int) -> float:
    """Standard error of a mean by circular block bootstrap."""
    n = len(held)
    if n < 2:
        return float("nan")
    block = int(np.clip(block, 1, max(1, n // 4)))
    starts = np.random.default_rng(SEED).integers(0, n, (RESAMPLES, -(-n // block)))
    sums = np.concatenate([[0.0], np.cumsum(np.concatenate([held, held[:block]]).astype(float))])
    means = (sums[starts + block] - sums[starts]).sum(axis=1) / (starts.shape[1] * block)
    return float(means.std())
