"""What a load forecast looks at: the newest values, the last day's level, the same time on the days before. Nothing after the origin."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ems.forecast.grid import CELLS_PER_DAY, FiveMinuteGrid, Floats

# now, last hour, day ago, days ago, day ago at the origin, days ago at the origin, one; all but the last above the last day's mean
FEATURES = 7
PROFILE_DAYS = (1, 2, 3, 7)
FADE_H = 3.0  # regression's prior: how fast the present deviation from the days before fades
FADES_H = (1.5, 6.0)  # of the two fading experts
# Experts: newest value, last hour, day ago, days ago, days ago with fading deviation (fast, slow), regression.
DAYS_WEIGHTS = np.array([0.0, 0.05, 0.1, 0.1, 0.25, 0.25, 0.25])  # prior beyond the first hours
NEWEST_WEIGHT, NEWEST_FADE_H = 0.95, 6.0  # prior of the newest value at short leads


def features(grid: FiveMinuteGrid, origin: int, leads: Floats) -> tuple[float, Floats]:
    """Mean of the last day in kW and, per lead (in cells), the FEATURES seen from the origin cell. What is missing counts as the mean."""
    newest = value_at(grid, origin)
    level = mean(window(grid, origin, CELLS_PER_DAY), newest)
    x = np.empty((len(leads), FEATURES))
    x[:, 0] = mean(window(grid, origin, 2), newest) - level
    x[:, 1] = mean(window(grid, origin, 12), newest) - level
    targets = np.append(np.rint(origin + leads).astype(int), origin - 1)
    days = days_before(grid, targets, origin) - level
    profile = np.nan_to_num(mean_rows(days), nan=0.0)
    yesterday = np.where(np.isfinite(days[0]), days[0], profile)
    x[:, 2], x[:, 3] = yesterday[:-1], profile[:-1]
    x[:, 4], x[:, 5] = yesterday[-1], profile[-1]
    x[:, 6] = 0.1 * level
    return level, x


def experts(newest_kw: float, level_kw: float, x: Floats, theta: Floats, leads: Floats) -> Floats:
    """One forecast in kW per lead and expert, in the order of DAYS_WEIGHTS; `theta` holds the regression's row per lead."""
    days = 0.5 * (x[:, 2] + x[:, 3])
    above = 0.7 * x[:, 0] + 0.3 * x[:, 1] - 0.5 * (x[:, 4] + x[:, 5])
    faded = [days + above * np.exp(-leads / 12.0 / tau_h) for tau_h in FADES_H]
    newest = np.full(len(leads), newest_kw - level_kw)
    all_of_them: Floats = level_kw + np.stack([newest, x[:, 1], x[:, 2], x[:, 3], *faded, np.einsum("lf,lf->l", x, theta)], axis=1)
    return all_of_them


def prior_coefficients(leads: NDArray[np.intp]) -> Floats:
    """Where the regression starts: days before plus the present deviation from them, fading."""
    fade, one = np.exp(-leads / 12.0 / FADE_H), np.ones(len(leads))
    return np.stack([0.6 * fade, 0.4 * fade, 0.4 * one, 0.5 * one, -0.4 * fade, -0.5 * fade, 0.0 * one], axis=1)


def prior_weights(leads: NDArray[np.intp]) -> Floats:
    """Weights of the experts per lead before anything was learnt: the newest value first, then the days before."""
    newest = NEWEST_WEIGHT * np.exp(-leads / 12.0 / NEWEST_FADE_H)
    weights: Floats = (1.0 - newest)[:, None] * DAYS_WEIGHTS
    weights[:, 0] = newest + 0.01
    return weights


def value_at(grid: FiveMinuteGrid, cell: int) -> float:
    """Mean of a closed cell in kW."""
    return float(grid.values[cell - grid.first])


def window(grid: FiveMinuteGrid, origin: int, cells: int) -> Floats:
    """The newest cells up to and with the origin."""
    end = origin - grid.first + 1
    return grid.values[max(0, end - cells) : end]


def days_before(grid: FiveMinuteGrid, targets: NDArray[np.intp], origin: int) -> Floats:
    """Mean of three cells around the same time of day, per profile day and target, from the newest day that is known; NaN where unknown."""
    first_day = np.maximum(1, -((origin - targets) // CELLS_PER_DAY))  # 1 up to a day ahead, then 2
    return np.array([_around(grid, targets - CELLS_PER_DAY * (first_day + d - 1), origin) for d in PROFILE_DAYS])


def _around(grid: FiveMinuteGrid, cells: NDArray[np.intp], origin: int) -> Floats:
    places = np.array([cells - 1, cells, cells + 1]) - grid.first
    known = (places >= 0) & (places <= origin - grid.first)
    return mean_rows(np.where(known, grid.values[np.where(known, places, 0)], np.nan))


def mean(values: Floats, otherwise: float) -> float:
    """Mean of the finite values, or `otherwise`."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else otherwise


def mean_rows(values: Floats) -> Floats:
    """Mean over the first axis of what is finite, NaN where nothing is."""
    finite = np.isfinite(values)
    count = finite.sum(axis=0)
    means: Floats = np.where(count > 0, np.where(finite, values, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)
    return means
