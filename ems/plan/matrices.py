"""The compiled problem as the solver gets it: `row_lower <= a x <= row_upper`, `lower <= x <= upper`, tightened (engine_tighten).

Every number is an affine map of the Parameters: one sparse product per solve gives them all.
"""

from __future__ import annotations

from dataclasses import dataclass

import cvxpy as cp
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ems.errors import InvariantBroken, PlanInfeasible
from ems.plan.engine_program import Program
from ems.plan.engine_tighten import tighten

Array = NDArray[np.float64]
Index = NDArray[np.int64]
NO_ROOM = 1e-6  # a lower bound this far above the upper one is a clash, less is rounding


@dataclass(frozen=True)
class Matrices:
    """One set of numbers. `a` is column-wise; its pattern is that of every other set of the same problem. `held` are the values of the
    columns the solver does not see, `held_cost` what each of them costs per unit."""

    cost: Array
    offset: float
    lower: Array
    upper: Array
    row_lower: Array
    row_upper: Array
    a: sp.csc_matrix
    held: Array
    held_cost: Array
    sides: dict[str, Array]  # every bound and side that was asked for, the tightest of which hold

    def violation(self, x: Array) -> float:
        """The largest violation of a row or a bound, in its own unit."""
        ax = self.a @ x
        return float(
            max(
                np.max(self.row_lower - ax, initial=0.0),
                np.max(ax - self.row_upper, initial=0.0),
                np.max(self.lower - x, initial=0.0),
                np.max(x - self.upper, initial=0.0),
            )
        )


class CompiledMatrices:
    """Compiles a DPP problem once; `matrices()` applies the Parameters as they are now. `integers` are the whole-number columns."""

    def __init__(self, problem: cp.Problem) -> None:
        self.program = Program(problem)
        self.tight = tighten(self.program)
        place = np.full(self.program.columns_count, -1)
        place[self.tight.columns] = np.arange(len(self.tight.columns))
        self.integers: Index = place[self.program.integers]
        self._row_place = np.full(self.program.rows_count, -1)
        self._row_place[self.tight.rows] = np.arange(len(self.tight.rows))
        self._keep_pattern(place)
        self._join_maps()

    def columns(self, variable: cp.Variable) -> slice:
        """Where a variable stands in `whole`."""
        return self.program.columns(variable)

    @property
    def is_equality(self) -> NDArray[np.bool_]:
        """Of each row the solver sees."""
        return np.asarray(self.tight.rows < self.program.equalities)

    def pattern_by_row(self) -> sp.csr_matrix:
        """Where coefficients stand, row by row."""
        return sp.csr_matrix(self._pattern)

    def whole(self, x: Array, m: Matrices) -> Array:
        """Values of all columns of the problem, those taken out included."""
        result = np.empty(self.program.columns_count)
        result[self.tight.columns], result[self.tight.held] = x, m.held
        return result

    def whole_dual(self, column_dual: Array, row_dual: Array, m: Matrices) -> Array:
        """Reduced costs of all columns: those of the columns taken out follow from the rows they stand in."""
        result = np.empty(self.program.columns_count)
        result[self.tight.columns] = column_dual
        result[self.tight.held] = m.held_cost - self._held_a @ row_dual
        return result

    def program_dual(self, whole_dual: Array, row_dual: Array, m: Matrices) -> Array:
        """Change of cost per unit of right-hand side of every row of the problem as cvxpy wrote it: what the solver says of a bound or a
        joint row goes to the row that set it (the first, where several set it alike)."""
        result = np.zeros(self.program.rows_count)
        at_row = np.zeros(self.program.rows_count)
        at_row[self.tight.rows] = row_dual
        for name, sides, duals, sign in (
            ("lower", self.tight.lower, whole_dual, 1.0),
            ("upper", self.tight.upper, whole_dual, -1.0),
            ("row_lower", self.tight.row_lower, at_row, 1.0),
            ("row_upper", self.tight.row_upper, at_row, -1.0),
        ):
            active = _first_tightest(sides.of, sign * m.sides[name])
            active = active[(sign * duals[sides.of[active]] > 0.0) & (sides.row[active] >= 0)]
            result[sides.row[active]] += duals[sides.of[active]] / sides.factor[active]
        return result

    def matrices(self) -> Matrices:
        """The numbers for the Parameters as they are now. Raises InvariantBroken when one is not finite, PlanInfeasible when a variable
        has no room between its bounds."""
        numbers = self._maps @ self.program.parameters()
        if not np.isfinite(numbers).all():
            raise InvariantBroken("a number of the plan is not finite")
        part = {name: numbers[where] for name, where in self._parts.items()}
        n, kept, held = self.program.columns_count, self.tight.columns, self.tight.held
        lower = _tightest(np.maximum, self.tight.lower.of, part["lower"], n, -np.inf)
        upper = _tightest(np.minimum, self.tight.upper.of, part["upper"], n, np.inf)
        lower = self._with_room(lower, upper, part["moot"])
        m = len(self.tight.rows)
        row_lower = _tightest(np.maximum, self._row_place[self.tight.row_lower.of], part["row_lower"], m, -np.inf)
        row_upper = _tightest(np.minimum, self._row_place[self.tight.row_upper.of], part["row_upper"], m, np.inf)
        crossed = (row_lower > row_upper) & (row_lower <= row_upper + NO_ROOM)
        row_lower[crossed] = row_upper[crossed]
        cost, held_at = part["cost"], part["held"]
        a = sp.csc_matrix((part["values"], self._pattern.indices, self._pattern.indptr), self._pattern.shape)
        offset = float(part["offset"][0] + cost[held] @ held_at)
        return Matrices(cost[kept], offset, lower[kept], upper[kept], row_lower, row_upper, a, held_at, cost[held], part)

    def _with_room(self, lower: Array, upper: Array, moot: Array) -> Array:
        """Lower bounds, at most the upper ones where rounding had them crossed."""
        crossed = lower > upper
        if (lower[crossed] - upper[crossed] > NO_ROOM).any():
            raise PlanInfeasible("a variable of the plan has no room between its bounds")
        is_equality = self.tight.moot < self.program.equalities
        if (np.where(is_equality, -np.abs(moot), moot) < -NO_ROOM).any():
            raise PlanInfeasible("values that are given contradict each other")
        return np.where(crossed, upper, lower)

    def _keep_pattern(self, place: Index) -> None:
        entries, program = self.tight.entries, self.program
        column, row = place[program.column[entries]], self._row_place[program.row[entries]]
        starts = np.concatenate([[0], np.cumsum(np.bincount(column, minlength=len(self.tight.columns)))])
        self._pattern = sp.csc_matrix((np.ones(len(entries)), row, starts), (len(self.tight.rows), len(self.tight.columns)))
        number = np.full(program.columns_count, -1)
        number[self.tight.held] = np.arange(len(self.tight.held))
        taken = np.flatnonzero((number[program.column] >= 0) & (self._row_place[program.row] >= 0))
        value = program.values[taken] @ program.parameters()
        where = (number[program.column[taken]], self._row_place[program.row[taken]])
        self._held_a = sp.csr_array((value, where), (len(self.tight.held), len(self.tight.rows)))

    def _join_maps(self) -> None:
        tight, program = self.tight, self.program
        maps = {
            "cost": program.cost,
            "offset": program.offset,
            "held": tight.held_at,
            "moot": tight.b[tight.moot],
            "lower": tight.lower.maps,
            "upper": tight.upper.maps,
            "row_lower": tight.row_lower.maps,
            "row_upper": tight.row_upper.maps,
            "values": program.values[tight.entries],
        }
        ends = np.cumsum([part.shape[0] for part in maps.values()]).tolist()
        self._parts = {name: slice(end - part.shape[0], end) for (name, part), end in zip(maps.items(), ends, strict=True)}
        self._maps = sp.csr_array(sp.vstack(list(maps.values())))


def _tightest(pick: np.ufunc, of: Index, values: Array, n: int, none: float) -> Array:
    result = np.full(n, none)
    pick.at(result, of, values)
    return result


def _first_tightest(of: Index, tightness: Array) -> Index:
    """For each thing bounded the place of its tightest bound."""
    order = np.lexsort((-tightness, of))
    return np.asarray(order[np.unique(of[order], return_index=True)[1]])
