"""Quantiles of a forecast's own past errors, per lead. Starts from assumed errors that the measured ones push out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ASSUMED = np.tan(np.pi * (np.linspace(0.01, 0.99, 49) - 0.5)).clip(-8.0, 8.0) / 2.0  # heavy tails, unit half-width about the quartiles x 2


class ErrorBand:
    """The newest errors of each lead (`actual − forecast`, kW); `quantile` reads them with the finite-sample correction of conformal
    prediction, so that a short memory widens the band."""

    def __init__(self, assumed_kw: Floats, kept: int) -> None:
        leads = len(assumed_kw)
        self._errors = np.full((leads, kept), np.nan)
        self._errors[:, : len(ASSUMED)] = assumed_kw[:, None] * ASSUMED
        self._next = np.full(leads, len(ASSUMED))
        self._count = np.full(leads, len(ASSUMED))
        self._sorted: Floats | None = None

    def add(self, errors: Floats, ok: NDArray[np.bool_]) -> None:
        """Takes one error per lead where `ok`."""
        rows = np.flatnonzero(ok)
        self._errors[rows, self._next[rows]] = errors[rows]
        self._next[rows] = (self._next[rows] + 1) % self._errors.shape[1]
        self._count[rows] = np.minimum(self._count[rows] + 1, self._errors.shape[1])
        self._sorted = None

    def quantile(self, level: float) -> Floats:
        """The error in kW not exceeded with probability `level`, per lead."""
        if self._sorted is None:
            self._sorted = np.sort(self._errors, axis=1)  # NaN last
        n = self._count
        above = level if level >= 0.5 else 1.0 - level
        rank = np.minimum(n - 1, np.ceil((n + 1) * above).astype(int) - 1)
        return self._sorted[np.arange(len(n)), rank if level >= 0.5 else n - 1 - rank]
