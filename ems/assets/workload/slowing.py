"""How work that is slowed enters the plan: its cut in parts, the first of which loses the least work per kW."""

from __future__ import annotations

from collections.abc import Sequence

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

from ems.assets.workload.curve import Point, cut_pieces

Array = NDArray[np.float64]


class SlowedWork:
    """The work lost by a cut of some power, in kW at full speed: convex in the cut, so that a plan takes the cheap parts first.

    One variable per part, N values. Where losing work would pay (prices far below zero), parts may be taken out of order; the planner
    closes those (plan/directions.py).
    """

    def __init__(self, points: Sequence[Point], cut_kw: cp.Variable) -> None:
        n, pieces = cut_kw.size, cut_pieces(points)
        self.widths = [width for width, _ in pieces]
        self.slopes = [slope for _, slope in pieces]
        self.part_kw = [cp.Variable(n, nonneg=True) for _ in pieces]
        self.most_kw = [cp.Parameter(n, nonneg=True) for _ in pieces]
        self.lost_kw: cp.Expression = sum(
            (slope * part for slope, part in zip(self.slopes[1:], self.part_kw[1:], strict=True)), start=self.slopes[0] * self.part_kw[0]
        )
        self.constraints: dict[str, cp.Constraint] = {"is cut in parts": cut_kw == sum(self.part_kw[1:], start=self.part_kw[0])}
        for k, (part, most) in enumerate(zip(self.part_kw, self.most_kw, strict=True)):
            self.constraints[f"slows along its curve ({k})"] = part <= most

    def update(self, arriving_kw: Array) -> None:
        """Sets how much of what arrives each part may take."""
        for width, most in zip(self.widths, self.most_kw, strict=True):
            most.value = width * np.maximum(arriving_kw, 0.0)
