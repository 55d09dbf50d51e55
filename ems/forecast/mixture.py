"""A convex mixture of forecasts whose weights follow their errors, per lead (exponentiated gradient on the absolute error)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class LeadMixture:
    """`weights[lead, expert]`, each row sums to one. `rate` is the step of learning (a column: one per lead), `least` the weight no
    expert falls below."""

    def __init__(self, prior: Floats, rate: float | Floats, least: float) -> None:
        self.weights = prior / prior.sum(axis=1, keepdims=True)
        self._rate, self._least = rate, least

    def update(self, experts: Floats, actual: float, scale_kw: Floats, ok: NDArray[np.bool_]) -> None:
        """Moves the weights of the leads that are `ok` towards the experts on the other side of the error; `experts[lead, expert]`."""
        mixed = np.einsum("le,le->l", self.weights, experts)
        pull = np.sign(actual - mixed)[:, None] * (experts - mixed[:, None]) / scale_kw[:, None]
        moved = self.weights * np.exp(self._rate * np.clip(pull, -5.0, 5.0))
        moved = np.maximum(moved / moved.sum(axis=1, keepdims=True), self._least)
        self.weights = np.where(ok[:, None], moved / moved.sum(axis=1, keepdims=True), self.weights)
