"""Solves a compiled problem again and again on one persistent HiGHS.

cvxpy compiles the problem once; each solve applies the Parameters to the compiled matrices, hands only the differences to HiGHS and
starts the dual simplex from the last basis. An answer that fails its check is solved again from scratch, then by a second solver.
Whole-number columns are decided first (engine_mip), then held, so that every answer is one of a linear program.
The compiled form is reached through `get_problem_data`/`apply_parameters` (semi-public): tests hold it against `problem.solve`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cvxpy as cp
import highspy
import numpy as np
from numpy.typing import NDArray

from ems.errors import PlanInfeasible
from ems.horizon import Horizon
from ems.plan.engine_align import Alignment, SlidingBasis
from ems.plan.engine_highs import LP_OPTIONS, give_budget, hand_over, model_of, new_highs
from ems.plan.engine_mip import MIP_REL_GAP, Branching
from ems.plan.engine_second import solve_second
from ems.plan.matrices import CompiledMatrices, Matrices

Array = NDArray[np.float64]
RESIDUAL_TOLERANCE = 1e-5  # largest violation of a row or bound, in its own unit (kW, kWh)
MIP_NODES = 2_000  # a replay's limit in place of seconds: far above what one generator needs (mostly 1)
HOT, COLD, SECOND = "hot", "cold", "second solver"


@dataclass(frozen=True)
class Solution:
    """Column values, row and column duals in HiGHS's sign (change of cost per unit of bound), and which path answered.

    With whole-number columns the duals are those of the program with these held, and `gap` says how far from the best it may be.
    """

    x: Array
    row_dual: Array
    column_dual: Array
    objective: float
    path: str
    iterations: int
    gap: float = 0.0


class Engine:
    """One persistent solver for one problem. `limit` each solve by seconds (daemon) or iterations (replay: same result every time)."""

    def __init__(
        self, problem: cp.Problem, budget_s: float = np.inf, iterations: int | None = None, mip_rel_gap: float = MIP_REL_GAP
    ) -> None:
        self.problem = problem
        self.budget_s, self.iterations, self.mip_rel_gap = budget_s, iterations, mip_rel_gap
        self.compiled: CompiledMatrices | None = None
        self._branching: Branching | None = None
        self._highs = new_highs(LP_OPTIONS)
        self._last: Matrices | None = None
        self._sliding: SlidingBasis | None = None

    def solve(self, horizon: Horizon | None = None) -> Solution:
        """The optimum for the Parameters as they are now. Raises PlanInfeasible when no solver has an answer.

        With the `horizon` they are for, the basis of the last solve is moved along with the time it was for.
        """
        if self.compiled is None:
            self.compiled = self._compile()
        matrices, gap = self.compiled.matrices(), 0.0
        if self._branching is not None:
            matrices, gap = self._decided(matrices, self._branching)
        path = COLD if self._last is None else HOT
        self._hand_over(matrices)
        if horizon is not None:
            self._slide(horizon)
        solution = self._run(matrices, path, gap)
        if solution is None and path == HOT:
            self._highs.clearSolver()
            solution = self._run(matrices, COLD, gap)
        if solution is None:
            self._last = None  # nothing of a failed instance is kept
            solution = self._second(matrices, gap)
        return solution

    def value(self, variable: cp.Variable, solution: Solution) -> Array:
        """Values of a cvxpy variable in a solution."""
        assert self.compiled is not None
        return solution.x[self.compiled.columns(variable)]

    def _compile(self) -> CompiledMatrices:
        compiled = CompiledMatrices(self.problem)
        if len(compiled.integers):
            nodes = None if np.isfinite(self.budget_s) else MIP_NODES
            self._branching = Branching(compiled.integers, self.mip_rel_gap, self.budget_s, nodes)
        return compiled

    def _decided(self, m: Matrices, branching: Branching) -> tuple[Matrices, float]:
        decision = branching.decide(m)
        if decision is None:
            raise PlanInfeasible("no solver found a plan: none of the on/off decisions tried can be carried out")
        return decision.held(m, branching.integers), decision.gap

    def _hand_over(self, m: Matrices) -> None:
        if self._last is None:
            self._highs = new_highs(LP_OPTIONS)
            self._highs.passModel(model_of(m))
        else:
            hand_over(self._highs, self._last, m)
        self._last = m

    def _slide(self, horizon: Horizon) -> None:
        assert self.compiled is not None
        if self._sliding is None or self._sliding.alignment.steps != horizon.n:
            self._sliding = SlidingBasis(Alignment(self.compiled, horizon.n))
        self._sliding.slide(self._highs, horizon)

    def _run(self, m: Matrices, path: str, gap: float) -> Solution | None:
        h = self._highs
        give_budget(h, self.budget_s)
        if self.iterations is not None:
            h.setOptionValue("simplex_iteration_limit", self.iterations)
        h.run()
        if h.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return None
        found, info = h.getSolution(), h.getInfo()
        x = np.asarray(found.col_value)
        if m.violation(x) > RESIDUAL_TOLERANCE:
            return None
        objective = info.objective_function_value + m.offset
        return self._whole(
            m, x, np.asarray(found.row_dual), np.asarray(found.col_dual), objective, path, int(info.simplex_iteration_count), gap
        )

    def _second(self, m: Matrices, gap: float) -> Solution:
        answer = solve_second(m, max(self.budget_s, 1.0))
        if isinstance(answer, str):
            raise PlanInfeasible(f"neither solver found a plan: {answer}")
        objective = answer.objective + m.offset
        return self._whole(m, answer.x, answer.row_dual, answer.column_dual, objective, SECOND, answer.iterations, gap)

    def _whole(
        self, m: Matrices, x: Array, row_dual: Array, column_dual: Array, objective: float, path: str, iterations: int, gap: float
    ) -> Solution:
        """A solution in all columns of the problem."""
        assert self.compiled is not None
        whole_dual = self.compiled.whole_dual(column_dual, row_dual, m)
        return Solution(self.compiled.whole(x, m), row_dual, whole_dual, objective, path, iterations, gap)
