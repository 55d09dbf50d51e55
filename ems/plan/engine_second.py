"""The solver that is asked when HiGHS has no answer: Clarabel, an interior-point method that shares no code with it."""

from __future__ import annotations

from dataclasses import dataclass

import clarabel  # type: ignore[import-untyped]  # comes with cvxpy
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ems.plan.matrices import Matrices

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SecondAnswer:
    """Column values, duals in HiGHS's sign, the objective without its offset, iterations."""

    x: Array
    row_dual: Array
    column_dual: Array
    objective: float
    iterations: int


def solve_second(m: Matrices, budget_s: float = np.inf) -> SecondAnswer | str:
    """The optimum, or the solver's word for why there is none."""
    rows, sides, equalities = _rows(m)
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    if np.isfinite(budget_s):
        settings.time_limit = budget_s
    cones = [clarabel.ZeroConeT(equalities), clarabel.NonnegativeConeT(rows.shape[0] - equalities)]
    n = len(m.cost)
    found = clarabel.DefaultSolver(sp.csc_matrix((n, n)), m.cost, rows, sides, cones, settings).solve()
    if "Solved" not in str(found.status):
        return str(found.status)
    x = np.asarray(found.x)
    row_dual, column_dual = _duals(m, np.asarray(found.z))
    return SecondAnswer(x, row_dual, column_dual, float(m.cost @ x), int(found.iterations))


def _picks(m: Matrices) -> tuple[NDArray[np.bool_], ...]:
    """Which rows are equalities, have an upper, a lower side; which columns have an upper, a lower bound, are held."""
    equal, held = m.row_lower == m.row_upper, m.lower == m.upper
    above, below = ~equal & np.isfinite(m.row_upper), ~equal & np.isfinite(m.row_lower)
    return equal, held, above, below, ~held & np.isfinite(m.upper), ~held & np.isfinite(m.lower)


def _rows(m: Matrices) -> tuple[sp.csc_matrix, Array, int]:
    equal, held, above, below, upper, lower = _picks(m)
    a, one = sp.csr_matrix(m.a), sp.eye_array(len(m.cost), format="csr")
    rows = sp.vstack([a[equal], one[held], a[above], -a[below], one[upper], -one[lower]])
    sides = [m.row_upper[equal], m.upper[held], m.row_upper[above], -m.row_lower[below], m.upper[upper], -m.lower[lower]]
    return sp.csc_matrix(rows), np.concatenate(sides), int(equal.sum() + held.sum())


def _duals(m: Matrices, z: Array) -> tuple[Array, Array]:
    """Clarabel's multipliers of `rows x + s = sides` as change of cost per unit of bound."""
    row_dual, column_dual = np.zeros(len(m.row_lower)), np.zeros(len(m.cost))
    at = 0
    for pick, sign, dual in zip(_picks(m), (-1, -1, -1, 1, -1, 1), (0, 1, 0, 0, 1, 1), strict=True):
        count = int(pick.sum())
        (column_dual if dual else row_dual)[pick] += sign * z[at : at + count]
        at += count
    return row_dual, column_dual
