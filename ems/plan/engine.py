"""Solves a compiled problem again and again on one persistent HiGHS.

cvxpy compiles the problem once (engine_program) and what the solver need not see is taken out once (engine_tighten); each solve puts the
Parameters into the matrices, hands only the differences to HiGHS, moves the last basis along with time (engine_align) and starts the dual
simplex from it (engine_lp). An answer that fails its check is solved again from scratch, then by a second solver (engine_second).
Whole-number columns are decided first (engine_mip), then held, so that every answer is one of a linear program.
"""

from __future__ import annotations

from dataclasses import dataclass

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

from ems.errors import PlanInfeasible
from ems.horizon import Horizon
from ems.plan.building import no_collection
from ems.plan.engine_align import Alignment
from ems.plan.engine_lp import COLD, HOT, Answer, HotSolver
from ems.plan.engine_mip import MIP_REL_GAP, Branching
from ems.plan.engine_second import solve_second
from ems.plan.matrices import CompiledMatrices, Matrices

__all__ = ["COLD", "HOT", "SECOND", "Engine", "Solution"]

Array = NDArray[np.float64]
SECOND = "second solver"


@dataclass(frozen=True)
class Solution:
    """Values and reduced costs of all columns of the problem, duals of the rows the solver sees (change of cost per unit of bound), and
    which path answered.

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
        self.mip_rel_gap = mip_rel_gap
        self.compiled: CompiledMatrices | None = None
        self._solver = HotSolver(budget_s, iterations)
        self._branching: Branching | None = None
        self._alignment: Alignment | None = None
        self._answered: tuple[Solution, Matrices] | None = None
        self._worth: tuple[Solution, Array] | None = None

    @property
    def budget_s(self) -> float:
        """Wall seconds each run may take."""
        return self._solver.budget_s

    @property
    def iterations(self) -> int | None:
        """Simplex iterations each run may take."""
        return self._solver.iterations

    @iterations.setter
    def iterations(self, most: int | None) -> None:
        self._solver.iterations = most

    def solve(self, horizon: Horizon | None = None) -> Solution:
        """The optimum for the Parameters as they are now. Raises PlanInfeasible when no solver has an answer.

        With the `horizon` they are for, the basis of the last solve is moved along with the time it was for.
        """
        compiled = self._compile()
        matrices, gap = compiled.matrices(), 0.0
        alignment = self._aligned(compiled, horizon)
        answer: Answer | None = None
        if self._branching is not None:
            decision = self._branching.decide(matrices, self._solver, horizon, alignment)
            if decision is None:
                raise PlanInfeasible("no solver found a plan: none of the on/off decisions tried can be carried out")
            matrices, gap, answer = decision.held(matrices, compiled.integers), decision.gap, decision.answer
        if answer is None:
            answer = self._solver.solve(matrices, horizon, alignment) or self._second(matrices)
        x, column_dual = compiled.whole(answer.x, matrices), compiled.whole_dual(answer.column_dual, answer.row_dual, matrices)
        solution = Solution(x, answer.row_dual, column_dual, answer.objective, answer.path, answer.iterations, gap)
        self._answered = (solution, matrices)
        return solution

    def value(self, variable: cp.Variable, solution: Solution) -> Array:
        """Values of a cvxpy variable in a solution."""
        assert self.compiled is not None
        return solution.x[self.compiled.columns(variable)]

    def worth(self, constraint: cp.Constraint, solution: Solution) -> Array:
        """What one unit more room in each entry of a constraint saves (of an equality `a == b`: one more in b), in the shape of its
        entries column by column; 0 where it does not bind. For the solution of the last solve only: ValueError for another."""
        if self.compiled is None or self._answered is None or self._answered[0] is not solution:
            raise ValueError("only the last solution's constraints have a worth")
        if self._worth is None or self._worth[0] is not solution:
            dual = self.compiled.program_dual(solution.column_dual, solution.row_dual, self._answered[1])
            self._worth = (solution, -dual)
        return self._worth[1][self.compiled.program.rows(constraint)]

    def _compile(self) -> CompiledMatrices:
        if self.compiled is None:
            with no_collection():
                self.compiled = CompiledMatrices(self.problem)
        if len(self.compiled.integers) and self._branching is None:
            self._branching = Branching(self.compiled.integers, self.mip_rel_gap, self.budget_s, self.iterations)
        return self.compiled

    def _aligned(self, compiled: CompiledMatrices, horizon: Horizon | None) -> Alignment | None:
        if horizon is not None and (self._alignment is None or self._alignment.steps != horizon.n):
            self._alignment = Alignment(compiled, horizon.n)
        return self._alignment if horizon is not None else None

    def _second(self, m: Matrices) -> Answer:
        found = solve_second(m, max(self.budget_s, 1.0))
        if isinstance(found, str):
            raise PlanInfeasible(f"neither solver found a plan: {found}")
        return Answer(found.x, found.row_dual, found.column_dual, found.objective + m.offset, SECOND, found.iterations)
