"""Scores of forecasts. Arrays of equal length, one value per target."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def mean_absolute_error(actual: Array, expected: Array) -> float:
    """In the unit of the values."""
    return float(np.mean(np.abs(actual - expected)))


def mean_percent_error(actual: Array, expected: Array) -> float:
    """Mean absolute error as a percentage of the mean actual value."""
    mean = float(np.mean(actual))
    return 100.0 * mean_absolute_error(actual, expected) / mean if mean else float("nan")


def pinball_loss(actual: Array, quantile: Array, level: float) -> float:
    """Mean quantile loss: level x what lies above, (1 - level) x what lies below (Koenker and Bassett 1978)."""
    error = actual - quantile
    return float(np.mean(np.maximum(level * error, (level - 1.0) * error)))


def coverage(actual: Array, low: Array, high: Array) -> float:
    """The share of actual values inside [low, high]."""
    return float(np.mean((low <= actual) & (actual <= high)))
