"""A forecast as quantiles: one value per step and level."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

LEVELS = (0.1, 0.5, 0.9, 0.99)


@dataclass(frozen=True)
class Quantiles:
    """`values[level]` holds, per step, the value not exceeded with that probability. Levels never cross."""

    starts: tuple[datetime, ...]
    duration_h: tuple[float, ...]
    values: dict[float, NDArray[np.float64]]

    def q(self, level: float) -> NDArray[np.float64]:
        """One value per step; raises KeyError for a level that was not forecast."""
        return self.values[level]
