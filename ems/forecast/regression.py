"""Recursive least squares for many leads at once: each lead has its own coefficients, all start from a prior."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class LeadRegressions:
    """Coefficients `theta[lead, feature]`; an update moves the leads that are `ok`.

    `stiffness` is how many typical squared features the prior weighs (one number, or one per lead); `memory` the number of updates after
    which an old one weighs 1/e.
    """

    def __init__(self, prior: Floats, feature_scale: float, stiffness: float | Floats, memory: float) -> None:
        leads, features = prior.shape
        self.prior = prior
        self.theta = prior.copy()
        self._p_most = 1.0 / (np.broadcast_to(stiffness, leads) * feature_scale**2)
        self._p = self._p_most[:, None, None] * np.eye(features)
        self._keep = 1.0 - 1.0 / memory

    def update(self, x: Floats, error: Floats, ok: NDArray[np.bool_]) -> None:
        """One step towards the targets: `x[lead, feature]`, `error[lead]` = target − prediction (clipped by the caller)."""
        px = np.einsum("lij,lj->li", self._p, x)
        gain = px / (self._keep + np.einsum("li,li->l", x, px))[:, None]
        gain[~ok] = 0.0
        self.theta += gain * np.where(ok, error, 0.0)[:, None]
        shrunk = self._p - gain[:, :, None] * px[:, None, :]
        trace_ok = np.einsum("lii->l", shrunk) / self._keep < self._p_most * x.shape[1]
        grow = np.where(ok & trace_ok, 1.0 / self._keep, 1.0)
        self._p = 0.5 * (shrunk + shrunk.transpose(0, 2, 1)) * grow[:, None, None]
