"""How a load nobody can move enters the plan."""

from __future__ import annotations

import cvxpy as cp
import numpy as np

from ems.assets.fixed_load.model import FixedLoad


class FixedLoadBlock:
    """Its nameplate in every step."""

    def __init__(self, load: FixedLoad, steps: int) -> None:
        self.power_kw = cp.Constant(np.full(steps, load.power_kw))
        self.cost = cp.Constant(0.0)
        self.constraints: dict[str, cp.Constraint] = {}
