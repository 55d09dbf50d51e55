"""The compiled problem as HiGHS wants it: `row_lower <= A x <= row_upper`, `lower <= x <= upper`.

cvxpy writes `A x + s = b` with equality rows first. Rows with a single coefficient become bounds, and pairs of opposite inequalities
become one row with two sides; both are decided once, on the pattern, which never changes (zeros are kept).
"""

from __future__ import annotations

from dataclasses import dataclass

import cvxpy as cp
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ems.errors import InvariantBroken

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class Matrices:
    """One set of numbers. `a` is column-wise; its pattern is that of every other set of the same problem."""

    cost: Array
    offset: float
    lower: Array
    upper: Array
    row_lower: Array
    row_upper: Array
    a: sp.csc_matrix

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
        data, _, _ = problem.get_problem_data(cp.HIGHS)
        self._program = data["param_prob"]
        self._booleans = np.array(data["bool_vars_idx"], dtype=np.int64)
        self.integers: Index = np.array(sorted([*data["bool_vars_idx"], *data["int_vars_idx"]]), dtype=np.int64)
        self._equalities = int(data["dims"].zero)
        _, _, a, _ = self._program.apply_parameters(keep_zeros=True)
        self._plan_rows(sp.csc_matrix(a))

    def columns(self, variable: cp.Variable) -> slice:
        """Where a variable stands among the columns."""
        first = self._program.var_id_to_col[variable.id]
        return slice(first, first + variable.size)

    def balance_rows(self, variable: cp.Variable) -> Index:
        """The equality rows in which a variable stands, in the order of its entries (one row each)."""
        pattern = self._kept_pattern
        rows = []
        for column in range(*self.columns(variable).indices(pattern.shape[1])):
            touching = pattern.indices[pattern.indptr[column] : pattern.indptr[column + 1]]
            rows.append(int(touching[self._is_equality[touching]][0]))
        return np.array(rows)

    def matrices(self) -> Matrices:
        """The numbers for the Parameters as they are now. Raises InvariantBroken when one is not finite."""
        q, offset, a, b = self._program.apply_parameters(keep_zeros=True)
        a = sp.csc_matrix(a)
        if not (np.isfinite(a.data).all() and np.isfinite(b).all() and np.isfinite(q).all()):
            raise InvariantBroken("a number of the plan is not finite")
        lower, upper = self._bounds(a.data, b)
        kept = sp.csc_matrix((-a.data[self._kept_data], self._kept_pattern.indices, self._kept_pattern.indptr), self._kept_pattern.shape)
        row_upper = b[self._kept_rows]
        row_lower = np.where(self._is_equality, row_upper, -np.inf)
        row_lower[self._ranged] = -b[self._ranged_by]
        return Matrices(np.asarray(q, float), float(offset), lower, upper, row_lower, row_upper, kept)

    def _plan_rows(self, a: sp.csc_matrix) -> None:
        counts = np.bincount(a.indices, minlength=a.shape[0])
        column_of = np.repeat(np.arange(a.shape[1]), np.diff(a.indptr))
        is_single = counts == 1
        single = np.flatnonzero(is_single[a.indices])
        self._single_data, self._single_row, self._single_column = single, a.indices[single], column_of[single]
        self._single_is_equality = self._single_row < self._equalities
        mirror = self._opposite_pairs(a, is_single)
        is_kept = ~is_single
        is_kept[list(mirror.values())] = False
        self._kept_rows = np.flatnonzero(is_kept)
        self._is_equality = self._kept_rows < self._equalities
        new_row = np.cumsum(is_kept) - 1
        self._ranged = np.array([new_row[r] for r in mirror], dtype=np.int64)
        self._ranged_by = np.array(list(mirror.values()), dtype=np.int64)
        self._kept_data = np.flatnonzero(is_kept[a.indices])
        starts = np.concatenate([[0], np.cumsum(np.bincount(column_of[self._kept_data], minlength=a.shape[1]))])
        self._kept_pattern = sp.csc_matrix(
            (np.ones(len(self._kept_data)), new_row[a.indices[self._kept_data]], starts), (len(self._kept_rows), a.shape[1])
        )

    def _opposite_pairs(self, a: sp.csc_matrix, is_single: NDArray[np.bool_]) -> dict[int, int]:
        """Inequality rows that are the negative of an earlier one: {earlier: later}. Only rows no Parameter stands in."""
        rows = sp.csr_matrix(a)
        fixed = ~self._parametric_rows(a)
        seen: dict[tuple[bytes, bytes], int] = {}
        pairs: dict[int, int] = {}
        for r in np.flatnonzero(fixed & ~is_single & (np.arange(a.shape[0]) >= self._equalities)):
            where = slice(rows.indptr[r], rows.indptr[r + 1])
            columns, values = rows.indices[where].tobytes(), rows.data[where]
            earlier = seen.pop((columns, (-values + 0.0).tobytes()), None)
            if earlier is None:
                seen[columns, (values + 0.0).tobytes()] = int(r)
            else:
                pairs[earlier] = int(r)
        return pairs

    def _parametric_rows(self, a: sp.csc_matrix) -> NDArray[np.bool_]:
        """True where a coefficient moves with a Parameter: found by moving all of them."""
        parameters = self._program.parameters
        old = [p.value for p in parameters]
        rng = np.random.default_rng(0)
        for p, value in zip(parameters, old, strict=True):
            p.value = np.abs(value) + rng.uniform(0.5, 1.5, np.shape(value))
        _, _, moved, _ = self._program.apply_parameters(keep_zeros=True)
        for p, value in zip(parameters, old, strict=True):
            p.value = value
        is_moved = np.zeros(a.shape[0], dtype=bool)
        is_moved[a.indices[a.data != sp.csc_matrix(moved).data]] = True
        return is_moved

    def _bounds(self, data: Array, b: Array) -> tuple[Array, Array]:
        columns = self._kept_pattern.shape[1]
        lower, upper = np.full(columns, -np.inf), np.full(columns, np.inf)
        if self._program.lower_bounds is not None:
            lower = np.maximum(lower, self._program.lower_bounds)
        if self._program.upper_bounds is not None:
            upper = np.minimum(upper, self._program.upper_bounds)
        lower[self._booleans], upper[self._booleans] = np.maximum(lower[self._booleans], 0.0), np.minimum(upper[self._booleans], 1.0)
        coefficient = -data[self._single_data]
        if not np.abs(coefficient).min(initial=1.0) > 1e-12:
            raise InvariantBroken("a bound of the plan has a coefficient of zero")
        value = b[self._single_row] / coefficient
        is_upper = self._single_is_equality | (coefficient > 0)
        is_lower = self._single_is_equality | (coefficient < 0)
        np.minimum.at(upper, self._single_column[is_upper], value[is_upper])
        np.maximum.at(lower, self._single_column[is_lower], value[is_lower])
        crossed = lower > upper
        if (lower[crossed] - upper[crossed] > 1e-6).any():
            raise InvariantBroken("a variable of the plan has no room between its bounds")
        return np.where(crossed, upper, lower), upper
