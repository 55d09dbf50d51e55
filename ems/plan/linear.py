"""A linear program put together from named column groups and row groups, solved once. For problems too large for one compiled form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import highspy
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ems.errors import PlanInfeasible

Array = NDArray[np.float64]
Term = tuple["Columns", Array | float]  # columns times coefficients, one per row


@dataclass(frozen=True)
class Columns:
    """Consecutive columns, one per step (or boundary)."""

    first: int
    n: int

    def __getitem__(self, where: slice) -> Columns:
        start, stop, _ = where.indices(self.n)
        return Columns(self.first + start, stop - start)

    @property
    def index(self) -> NDArray[np.int64]:
        """Column numbers."""
        return np.arange(self.first, self.first + self.n)


@dataclass
class LinearProgram:
    """Minimise cost @ x subject to rows and bounds."""

    cost: list[Array] = field(default_factory=list)
    lower: list[Array] = field(default_factory=list)
    upper: list[Array] = field(default_factory=list)
    row_lower: list[Array] = field(default_factory=list)
    row_upper: list[Array] = field(default_factory=list)
    entries: list[tuple[NDArray[np.int64], NDArray[np.int64], Array]] = field(default_factory=list)
    columns: int = 0
    rows: int = 0

    def add(self, n: int, cost: Array | float = 0.0, lower: Array | float = 0.0, upper: Array | float = np.inf) -> Columns:
        """New columns with cost and bounds."""
        for store, value in ((self.cost, cost), (self.lower, lower), (self.upper, upper)):
            store.append(np.broadcast_to(np.asarray(value, float), (n,)))
        group = Columns(self.columns, n)
        self.columns += n
        return group

    def require(self, terms: Sequence[Term], lower: Array | float, upper: Array | float) -> None:
        """One row per entry of the first term's columns: lower <= sum of terms <= upper. A single column stands in every row."""
        n = max(columns.n for columns, _ in terms)
        row = np.arange(self.rows, self.rows + n)
        for columns, coefficient in terms:
            index = columns.index if columns.n == n else np.full(n, columns.first)
            self.entries.append((row, index, np.broadcast_to(np.asarray(coefficient, float), (n,))))
        self.row_lower.append(np.broadcast_to(np.asarray(lower, float), (n,)))
        self.row_upper.append(np.broadcast_to(np.asarray(upper, float), (n,)))
        self.rows += n

    def solve(self, budget_s: float) -> LinearSolution:
        """The optimum. Raises PlanInfeasible when there is none or time runs out.

        By interior point with crossover: many times faster than simplex on large sites, at most half a second slower on small ones.
        """
        highs = highspy.Highs()
        options: dict[str, bool | int | float | str] = {"output_flag": False, "threads": 1, "time_limit": budget_s, "solver": "ipm"}
        for name, value in options.items():
            highs.setOptionValue(name, value)
        highs.passModel(self._model())
        highs.run()
        if highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            raise PlanInfeasible(f"the bound has no solution: {highs.modelStatusToString(highs.getModelStatus())}")
        info = highs.getInfo()
        gap = float(info.primal_dual_objective_error)  # type: ignore[attr-defined]
        return LinearSolution(np.asarray(highs.getSolution().col_value), info.objective_function_value, gap)

    def _model(self) -> highspy.HighsLp:
        row, column, value = (np.concatenate(part) for part in zip(*self.entries, strict=True))
        a = sp.csc_matrix((value, (row, column)), shape=(self.rows, self.columns))
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = self.columns, self.rows
        lp.col_cost_, lp.col_lower_, lp.col_upper_ = (np.concatenate(v) for v in (self.cost, self.lower, self.upper))
        lp.row_lower_, lp.row_upper_ = np.concatenate(self.row_lower), np.concatenate(self.row_upper)
        lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = a.indptr, a.indices, a.data
        return lp


@dataclass(frozen=True)
class LinearSolution:
    """Column values, objective, and the relative difference of primal and dual objective."""

    x: Array
    objective: float
    gap: float

    def value(self, columns: Columns) -> Array:
        """Values of a group of columns."""
        return self.x[columns.index]
