"""Quantiles of a forecast's own past errors, per lead. Starts from assumed errors that the measured ones push out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# Heavy-tailed errors of unit scale: Student's t with two degrees of freedom at 49 even probabilities, which needs no table.
P = np.linspace(0.01, 0.99, 49)
ASSUMED = (2.0 * P - 1.0) / np.sqrt(2.0 * P * (1.0 - P))


class ErrorBand:
    """The newest `kept` errors of each lead (`actual − forecast`, kW); `quantile` reads them with the finite-sample correction of
    conformal prediction, so that a short memory widens the band.

    Adaptive (Gibbs and Candès 2021): a lead whose errors fell outside more often than promised reads a level further out, by `rate`
    (per lead) for each error, and never further in: errors of long leads come late and together, and steering by them both ways
    oscillates. `assumed_kw` is the scale of the assumed errors per lead.
    """

    def __init__(self, assumed_kw: Floats, kept: int, levels: tuple[float, ...], rate: Floats) -> None:
        leads = len(assumed_kw)
        self._errors = np.full((leads, kept), np.nan)
        self._errors[:, : len(ASSUMED)] = assumed_kw[:, None] * ASSUMED
        self._next = np.full(leads, len(ASSUMED))
        self._count = np.full(leads, len(ASSUMED))
        self._rate = rate
        self._read = {level: np.full(leads, level) for level in levels}  # the level read in place of the promised one
        self._quantiles: dict[float, Floats] | None = None

    def add(self, errors: Floats, ok: NDArray[np.bool_]) -> None:
        """Takes one error per lead where `ok`."""
        for level, read in self._read.items():
            step = self._rate * (level - (errors <= self.quantile(level)))
            nearest, furthest = (level, 0.999) if level >= 0.5 else (0.001, level)
            self._read[level] = np.where(ok, np.clip(read + step, nearest, furthest), read)
        rows = np.flatnonzero(ok)
        kept = self._errors.shape[1]
        self._errors[rows, self._next[rows]] = errors[rows]
        self._next[rows] = (self._next[rows] + 1) % kept
        self._count[rows] = np.minimum(self._count[rows] + 1, kept)
        self._quantiles = None

    def quantile(self, level: float) -> Floats:
        """The error in kW not exceeded with probability `level`, per lead; raises KeyError for a level not promised."""
        if self._quantiles is None:
            ordered = np.sort(self._errors, axis=1)  # NaN last
            self._quantiles = {q: self._at(ordered, q, read) for q, read in self._read.items()}
        return self._quantiles[level]

    def _at(self, ordered: Floats, level: float, read: Floats) -> Floats:
        """The order statistic at a level, rounded away from the middle."""
        n = self._count
        if level >= 0.5:
            rank = np.ceil((n + 1) * read).astype(int) - 1
        else:
            rank = np.floor((n + 1) * read).astype(int) - 1
        at: Floats = ordered[np.arange(len(n)), np.clip(rank, 0, n - 1)]
        return at
