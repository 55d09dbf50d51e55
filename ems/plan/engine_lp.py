"""A linear program solved again and again on one persistent HiGHS: differences handed over, the basis slid along, every answer checked."""

from __future__ import annotations

from dataclasses import dataclass

import highspy
import numpy as np
from numpy.typing import NDArray

from ems.horizon import Horizon
from ems.plan.engine_align import Alignment, SlidingBasis
from ems.plan.engine_highs import COLD_OPTIONS, LARGE, LP_OPTIONS, give_budget, hand_over, model_of, new_highs, set_options
from ems.plan.matrices import Matrices

Array = NDArray[np.float64]
RESIDUAL_TOLERANCE = 1e-5  # largest violation of a row or bound, in its own unit (kW, kWh)
HOT, COLD = "hot", "cold"


@dataclass(frozen=True)
class Answer:
    """Values and duals of what the solver sees (change of cost per unit of bound), the objective with its offset, and the path."""

    x: Array
    row_dual: Array
    column_dual: Array
    objective: float
    path: str
    iterations: int


class HotSolver:
    """Keeps one instance between solves. `budget_s` limits a run in wall seconds, `iterations` in simplex iterations."""

    def __init__(self, budget_s: float, iterations: int | None) -> None:
        self.budget_s, self.iterations = budget_s, iterations
        self._highs: highspy.Highs | None = None
        self._last: Matrices | None = None
        self._x: Array | None = None  # what answered the last matrices, None when nothing did
        self._sliding: SlidingBasis | None = None
        self._first: highspy.HighsBasis | None = None  # where a first solve may begin

    def solve(self, m: Matrices, horizon: Horizon | None = None, alignment: Alignment | None = None, retry: bool = True) -> Answer | None:
        """The optimum from the last basis, else (`retry`) from none. None when there is none within the limits or it fails the check."""
        is_hot = self._last is not None
        basis = self._slid(horizon, alignment) if horizon is not None and alignment is not None else None
        h = self._given(m)
        if basis is not None:
            h.setBasis(basis)
        answer = self._run(h, m, HOT if is_hot else COLD)
        if answer is None and is_hot and retry:
            h.clearSolver()
            answer = self._run(h, m, COLD)
        if answer is None and retry:
            self.forget()
        return answer

    def begins_as(self, other: HotSolver) -> None:
        """The first solve begins at the basis of another one that has just solved nearly the same; a small program needs no such help."""
        if self._highs is None and other._highs is not None and other._last is not None and len(other._last.cost) > LARGE:
            self._first = other._highs.getBasis()

    def forget(self) -> None:
        """Nothing of a failed instance is kept: the next solve starts from none."""
        self._highs = self._last = self._x = self._sliding = None

    def _given(self, m: Matrices) -> highspy.Highs:
        if self._highs is None or self._last is None:
            self._highs = new_highs(LP_OPTIONS)
            self._highs.passModel(model_of(m))
            if self._first is not None:
                self._highs.setBasis(self._first)
        else:
            hand_over(self._highs, self._last, m)
        self._last = m
        return self._highs

    def _slid(self, horizon: Horizon, alignment: Alignment) -> highspy.HighsBasis | None:
        if self._sliding is None or self._sliding.alignment is not alignment:
            self._sliding = SlidingBasis(alignment)
        if self._highs is None or self._last is None:
            self._sliding.starts_at(horizon)
            return None
        return self._sliding.slid(self._highs, horizon, self._last, self._x)

    def _run(self, h: highspy.Highs, m: Matrices, path: str) -> Answer | None:
        give_budget(h, self.budget_s)
        if self.iterations is not None:
            h.setOptionValue("simplex_iteration_limit", self.iterations)
        self._x = None
        is_large = path == COLD and len(m.cost) > LARGE and self._first is None
        self._first = None
        if is_large:
            set_options(h, COLD_OPTIONS)
        h.run()
        if is_large:
            set_options(h, LP_OPTIONS)
        if h.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return None
        found, info = h.getSolution(), h.getInfo()
        x = np.asarray(found.col_value)
        if m.violation(x) > RESIDUAL_TOLERANCE:
            return None
        self._x = x
        row_dual, column_dual = np.asarray(found.row_dual), np.asarray(found.col_dual)
        return Answer(x, row_dual, column_dual, info.objective_function_value + m.offset, path, int(info.simplex_iteration_count))
