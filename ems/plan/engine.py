"""Solves a compiled problem again and again on one persistent HiGHS.

cvxpy compiles the problem once; each solve applies the Parameters to the compiled matrices, hands only the differences to HiGHS and
starts the dual simplex from the last basis. An answer that fails its check is solved again from scratch, then by a second solver.
The compiled form is reached through `get_problem_data`/`apply_parameters` (semi-public): tests hold it against `problem.solve`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cvxpy as cp
import highspy
import numpy as np
from numpy.typing import NDArray

from ems.errors import PlanInfeasible
from ems.plan.matrices import CompiledMatrices, Matrices

Array = NDArray[np.float64]
RESIDUAL_TOLERANCE = 1e-5  # largest violation of a row or bound, in its own unit (kW, kWh)
HOT, COLD, SECOND = "hot", "cold", "second solver"


@dataclass(frozen=True)
class Solution:
    """Column values, row and column duals in HiGHS's sign (change of cost per unit of bound), and which path answered."""

    x: Array
    row_dual: Array
    column_dual: Array
    objective: float
    path: str
    iterations: int


class Engine:
    """One persistent solver for one problem. `limit` each solve by seconds (daemon) or iterations (replay: same result every time)."""

    def __init__(self, problem: cp.Problem, budget_s: float = np.inf, iterations: int | None = None) -> None:
        self.problem = problem
        self.budget_s, self.iterations = budget_s, iterations
        self.compiled: CompiledMatrices | None = None
        self._highs = _new_highs()
        self._last: Matrices | None = None

    def solve(self) -> Solution:
        """The optimum for the Parameters as they are now. Raises PlanInfeasible when no solver has an answer."""
        if self.compiled is None:
            self.compiled = CompiledMatrices(self.problem)
        matrices = self.compiled.matrices()
        path = COLD if self._last is None else HOT
        self._hand_over(matrices)
        solution = self._run(matrices, path)
        if solution is None and path == HOT:
            self._highs.clearSolver()
            solution = self._run(matrices, COLD)
        if solution is None:
            self._last = None  # nothing of a failed instance is kept
            solution = self._second(matrices)
        return solution

    def value(self, variable: cp.Variable, solution: Solution) -> Array:
        """Values of a cvxpy variable in a solution."""
        assert self.compiled is not None
        return solution.x[self.compiled.columns(variable)]

    def _hand_over(self, m: Matrices) -> None:
        if self._last is None:
            self._highs = _new_highs()
            self._highs.passModel(_model(m))
        else:
            _change(self._highs, self._last, m)
        self._last = m

    def _run(self, m: Matrices, path: str) -> Solution | None:
        h = self._highs
        if np.isfinite(self.budget_s):
            h.setOptionValue("time_limit", h.getRunTime() + self.budget_s)  # HiGHS counts the life of the instance
        if self.iterations is not None:
            h.setOptionValue("simplex_iteration_limit", self.iterations)
        h.run()
        if h.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return None
        found, info = h.getSolution(), h.getInfo()
        x = np.asarray(found.col_value)
        if m.violation(x) > RESIDUAL_TOLERANCE:
            return None
        return Solution(
            x,
            np.asarray(found.row_dual),
            np.asarray(found.col_dual),
            info.objective_function_value + m.offset,
            path,
            int(info.simplex_iteration_count),
        )

    def _second(self, m: Matrices) -> Solution:
        assert self.compiled is not None
        seconds = float(max(self.budget_s, 1.0)) if np.isfinite(self.budget_s) else 1e6
        try:
            self.problem.solve(solver=cp.CLARABEL, time_limit=seconds)
        except cp.error.SolverError as error:
            raise PlanInfeasible(f"neither solver found a plan: {error}") from error
        if self.problem.status not in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE):
            raise PlanInfeasible(f"neither solver found a plan: {self.problem.status}")
        x = self.compiled.vector_of_values()
        zero_rows, zero_columns = np.zeros(len(m.row_lower)), np.zeros(len(x))
        return Solution(x, zero_rows, zero_columns, float(self.problem.value), SECOND, 0)


def _new_highs() -> highspy.Highs:
    h = highspy.Highs()
    options: dict[str, bool | int | str] = {
        "output_flag": False,
        "threads": 1,
        "solver": "simplex",
        "simplex_strategy": 1,  # serial dual simplex: the parallel one ignores the basis it is given
        "simplex_dual_edge_weight_strategy": 1,  # Devex: steepest edge recomputes its weights after every set of changes
    }
    for name, value in options.items():
        h.setOptionValue(name, value)
    return h


def _model(m: Matrices) -> highspy.HighsLp:
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = len(m.cost), len(m.row_lower)
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = m.cost, m.lower, m.upper
    lp.row_lower_, lp.row_upper_ = m.row_lower, m.row_upper
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = m.a.indptr, m.a.indices, m.a.data
    return lp


def _change(h: highspy.Highs, old: Matrices, new: Matrices) -> None:
    """Hands HiGHS what differs; the sparsity pattern never does."""
    i = np.flatnonzero(old.cost != new.cost).astype(np.int32)
    if len(i):
        h.changeColsCost(len(i), i, new.cost[i])
    i = np.flatnonzero((old.lower != new.lower) | (old.upper != new.upper)).astype(np.int32)
    if len(i):
        h.changeColsBounds(len(i), i, new.lower[i], new.upper[i])
    i = np.flatnonzero((old.row_lower != new.row_lower) | (old.row_upper != new.row_upper)).astype(np.int32)
    if len(i):
        h.changeRowsBounds(len(i), i, new.row_lower[i], new.row_upper[i])  # type: ignore[attr-defined]
    k = np.flatnonzero(old.a.data != new.a.data)
    column_of = np.repeat(np.arange(len(new.cost)), np.diff(new.a.indptr)) if len(k) else k
    for row, column, value in zip(new.a.indices[k].tolist(), column_of[k].tolist(), new.a.data[k].tolist(), strict=True):
        h.changeCoeff(row, column, value)
