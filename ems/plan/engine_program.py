"""A DPP problem as cvxpy compiled it, read once: every number of the program is an affine map of the Parameters.

The one place that touches cvxpy's semi-public surface (`get_problem_data`, the maps of its `param_prob`); tests hold it against
`problem.solve` and `apply_parameters`. Columns and rows are cvxpy's: equalities first, then inequalities `a x <= b`.
"""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import scipy.sparse as sp
from cvxpy.error import DPPError
from numpy.typing import NDArray

from ems.errors import InvariantBroken

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Mask = NDArray[np.bool_]


class Program:
    """minimize cost x + offset, rows `a x = b` (the first `equalities`) or `a x <= b`, lower <= x <= upper. Raises InvariantBroken when a
    term is not DPP: it would be compiled anew in every solve.

    `cost`, `offset`, `b`, `values`, `lower`, `upper` are maps: times `parameters()` they give the numbers. `values` are the coefficients,
    entry k standing in `row[k]`, `column[k]` (column by column); bounds are listed (`lower_of`, `upper_of` say for which column).
    """

    def __init__(self, problem: cp.Problem) -> None:
        try:
            data, _, _ = problem.get_problem_data(cp.HIGHS, enforce_dpp=True)
        except DPPError as error:
            raise InvariantBroken("the plan is not DPP: a Parameter is multiplied by a Parameter") from error
        self._compiled = data["param_prob"]
        self._compiled.apply_parameters(keep_zeros=True)  # fills the cache of its maps
        self.columns_count, self.rows_count = int(self._compiled.x.size), int(self._compiled.constr_size)
        self.equalities = int(data["dims"].zero)
        self.constant = int(self._compiled.param_id_to_col[-1])  # where the 1 stands among the parameters
        self.integers = np.array(sorted([*data["bool_vars_idx"], *data["int_vars_idx"]]), dtype=np.int64)
        self._read_rows()
        q = sp.csr_array(self._compiled.q)
        self.cost, self.offset = q[:-1], q[[-1]]
        booleans = np.array(data["bool_vars_idx"], dtype=np.int64)
        self.lower_of, self.lower = self._bounds(self._compiled.lower_bounds, self._compiled.lb_tensor, booleans, 0.0)
        self.upper_of, self.upper = self._bounds(self._compiled.upper_bounds, self._compiled.ub_tensor, booleans, 1.0)

    def parameters(self) -> Array:
        """The Parameters as they are now, flattened, with the 1 of the constants among them."""
        vector = np.ones(self._compiled.total_param_size + 1)
        for id_, first in self._compiled.param_id_to_col.items():
            if id_ in self._compiled.id_to_param:
                value = np.asarray(self._compiled.id_to_param[id_].value)
                vector[first : first + value.size] = value.ravel(order="F")
        return vector

    def columns(self, variable: cp.Variable) -> slice:
        """Where a variable stands among the columns (entries in column-major order)."""
        first = self._compiled.var_id_to_col[variable.id]
        return slice(first, first + variable.size)

    def rows(self, constraint: cp.Constraint) -> slice:
        """Where a constraint stands among the rows."""
        return self._row_slices[constraint.id]

    def variables(self) -> list[tuple[int, tuple[int, ...]]]:
        """First column and shape of every variable."""
        shapes = {v.id: v.shape for v in self._compiled.variables}
        return [(first, shapes[id_]) for id_, first in self._compiled.var_id_to_col.items()]

    def _read_rows(self) -> None:
        reduced = self._compiled.reduced_A
        maps, (index, starts, _) = sp.csr_array(reduced.reduced_mat), reduced.problem_data_index
        n = self.columns_count
        entries = int(starts[n])
        self.row: Index = np.asarray(index[:entries], dtype=np.int64)
        self.column: Index = np.repeat(np.arange(n), np.diff(starts[: n + 1]))
        self.values = -maps[:entries]
        into_rows = sp.csr_array(
            (np.ones(len(index) - entries), (index[entries:], np.arange(len(index) - entries))), (self.rows_count, len(index) - entries)
        )
        self.b = sp.csr_array(into_rows @ maps[entries:])
        self._row_slices, first = {}, 0
        for constraint in self._compiled.constraints:
            self._row_slices[constraint.id] = slice(first, first + constraint.size)
            first += constraint.size

    def _bounds(
        self, fixed: Array | None, tensor: sp.csc_array | None, booleans: Index, boolean_bound: float
    ) -> tuple[Index, sp.csr_array]:
        """Finite bounds as maps, and their columns: those of the variables, then those of the booleans."""
        width, constant = self._compiled.total_param_size + 1, self.constant
        if tensor is not None:
            maps = sp.csr_array(tensor)
            is_given = np.isfinite(maps @ np.ones(width))
        else:
            given = np.full(self.columns_count, np.inf) if fixed is None else np.asarray(fixed, float)
            is_given = np.isfinite(given)
            finite = np.where(is_given, given, 0.0)
            maps = sp.csr_array((finite, (np.arange(len(finite)), np.full(len(finite), constant))), (len(finite), width))
        of_booleans = sp.csr_array(
            (np.full(len(booleans), boolean_bound), (np.arange(len(booleans)), np.full(len(booleans), constant))), (len(booleans), width)
        )
        columns = np.concatenate([np.flatnonzero(is_given), booleans])
        return columns, sp.csr_array(sp.vstack([maps[is_given], of_booleans]))


def constants(maps: sp.csr_array, constant: int) -> Array:
    """The values of the maps no Parameter stands in; NaN for the others."""
    row = np.repeat(np.arange(maps.shape[0]), np.diff(maps.indptr))
    is_moved = np.zeros(maps.shape[0], dtype=bool)
    is_moved[row[(maps.indices != constant) & (maps.data != 0.0)]] = True
    return np.where(is_moved, np.nan, maps[:, [constant]].toarray().ravel())
