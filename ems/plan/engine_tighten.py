"""Which rows and columns of a compiled program the solver gets to see: decided once, on what no Parameter moves.

cvxpy writes every bound as a row and every two-sided limit as two. Here
- a column that a single equality holds at a value is taken out, its value moves to the right-hand sides; so is a column without a cost
  that every one of its rows wants as high (or as low) as its only bound lets it go: what is left of `abs(x) <= limit`;
- a row with a single coefficient becomes a bound;
- inequalities with the same coefficients, up to a factor, become one row with two sides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ems.plan.engine_program import Program, constants

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Sides:
    """Bounds of columns or sides of rows: of which one, which row of the program sets it (-1: none), `b of that row / factor`, as map."""

    of: Index
    row: Index
    factor: Array
    maps: sp.csr_array

    def __or__(self, other: Sides) -> Sides:
        maps = sp.csr_array(sp.vstack([self.maps, other.maps]))
        return Sides(np.r_[self.of, other.of], np.r_[self.row, other.row], np.r_[self.factor, other.factor], maps)

    def only(self, keep: Mask | Index) -> Sides:
        """Those to be kept."""
        return Sides(self.of[keep], self.row[keep], self.factor[keep], sp.csr_array(self.maps[keep]))


@dataclass(frozen=True)
class Tight:
    """What is left of a program: `entries`, `rows`, `columns` are numbers of the program, ascending. Bounds are of its columns, sides of
    its rows. `held` columns stand at `held_at`; `moot` are rows with nothing left but their right-hand side in `b`."""

    entries: Index
    rows: Index
    columns: Index
    held: Index
    held_at: sp.csr_array
    moot: Index
    b: sp.csr_array
    lower: Sides
    upper: Sides
    row_lower: Sides
    row_upper: Sides


def tighten(program: Program) -> Tight:
    """Applies the three rules."""
    value = constants(program.values, program.constant)
    lower = _own(program.lower_of, program.lower)
    upper = _own(program.upper_of, program.upper)
    left = np.ones(len(value), dtype=bool)
    first_lower, first_upper = _singles(program, value, left, program.b)
    left &= ~np.isin(program.row, np.r_[first_lower.row, first_upper.row])
    held, held_at = _held(program, value, left, lower | first_lower, upper | first_upper)
    is_held = np.isin(program.column, held)
    b = _substituted(program, np.where(is_held & left, value, 0.0), held, held_at)
    left &= ~is_held
    more_lower, more_upper = _singles(program, value, left, b)
    left &= ~np.isin(program.row, np.r_[more_lower.row, more_upper.row])
    lower, upper = lower | first_lower | more_lower, upper | first_upper | more_upper
    row_lower, row_upper = _sided(program, value, left, b)
    rows = np.unique(row_upper.of)
    gone = np.setdiff1d(np.arange(program.rows_count), np.r_[np.unique(program.row[left]), lower.row, upper.row])
    entries = np.flatnonzero(left & np.isin(program.row, rows))
    columns = np.setdiff1d(np.arange(program.columns_count), held)
    return Tight(entries, rows, columns, held, held_at, gone, b, lower, upper, row_lower, row_upper)


def _own(of: Index, maps: sp.csr_array) -> Sides:
    return Sides(of, np.full(len(of), -1), np.ones(len(of)), maps)


def _singles(program: Program, value: Array, left: Mask, b: sp.csr_array) -> tuple[Sides, Sides]:
    """Lower and upper bounds set by rows with one coefficient, a constant other than zero."""
    count = np.bincount(program.row[left], minlength=program.rows_count)
    single = np.flatnonzero(left & (count[program.row] == 1) & (np.abs(np.nan_to_num(value)) > 1e-12))
    row, factor = program.row[single], value[single]
    bounds = Sides(program.column[single], row, factor, _divided(b[row], factor))
    is_equality = row < program.equalities
    return bounds.only(is_equality | (factor < 0)), bounds.only(is_equality | (factor > 0))


def _divided(maps: sp.csr_array, factor: Array) -> sp.csr_array:
    return sp.csr_array(sp.diags_array(1.0 / factor) @ maps)


def _held(program: Program, value: Array, left: Mask, lower: Sides, upper: Sides) -> tuple[Index, sp.csr_array]:
    """Columns to take out and their values: no whole numbers, and no coefficient that moves."""
    n = program.columns_count
    may = np.ones(n, dtype=bool)
    may[program.integers] = False
    may[program.column[left & np.isnan(value)]] = False
    equal = upper.only((upper.row >= 0) & (upper.row < program.equalities))
    equal = equal.only(np.unique(equal.of, return_index=True)[1])
    high, low = _pushed(program, value, left, lower, upper)
    parts = equal | high.only(~np.isin(high.of, equal.of))
    parts = parts | low.only(~np.isin(low.of, parts.of))
    parts = parts.only(may[parts.of])
    return parts.of, parts.maps


def _pushed(program: Program, value: Array, left: Mask, lower: Sides, upper: Sides) -> tuple[Sides, Sides]:
    """The only bounds of columns without a cost that all rows want high, and of those that all rows want low."""
    n, cost = program.columns_count, constants(program.cost, program.constant)
    signed = np.where(program.row < program.equalities, np.nan, value)[left]
    wants_low = _every(program.column[left], signed > 0, n)
    wants_high = _every(program.column[left], signed < 0, n)
    is_free = cost == 0.0
    high, low = _surely_tightest(upper, -1.0, program.constant), _surely_tightest(lower, 1.0, program.constant)
    return high.only((is_free & wants_high)[high.of]), low.only((is_free & wants_low)[low.of])


def _surely_tightest(sides: Sides, sign: float, constant: int) -> Sides:
    """One bound for each column whose tightest is known whatever the Parameters are: the only one, or all of them constant."""
    value = constants(sides.maps, constant)
    order = np.lexsort((-sign * value, sides.of))
    of, first = np.unique(sides.of[order], return_index=True)
    count = np.bincount(sides.of, minlength=1 + of.max(initial=0))
    moves = np.bincount(sides.of, np.isnan(value), minlength=len(count)) > 0
    return sides.only(order[first][(count[of] == 1) | ~moves[of]])


def _every(of: Index, holds: Mask, n: int) -> Mask:
    """For each of n: it occurs, and what is asked holds each time."""
    return np.asarray((np.bincount(of, minlength=n) > 0) & (np.bincount(of[~holds], minlength=n) == 0))


def _substituted(program: Program, value: Array, held: Index, held_at: sp.csr_array) -> sp.csr_array:
    """Right-hand sides less what the held columns put in their rows."""
    number = np.full(program.columns_count, -1)
    number[held] = np.arange(len(held))
    taken = np.flatnonzero(value != 0.0)
    a = sp.csr_array((value[taken], (program.row[taken], number[program.column[taken]])), (program.rows_count, max(len(held), 1)))
    return sp.csr_array(program.b - a[:, : len(held)] @ held_at) if len(held) else program.b


def _sided(program: Program, value: Array, left: Mask, b: sp.csr_array) -> tuple[Sides, Sides]:
    """Lower and upper sides of the rows that stay; a row with the coefficients of an earlier one gives that one a side and goes."""
    stands_for, factor = np.arange(program.rows_count), np.ones(program.rows_count)
    for rows, like, by in _alike(program, value, left):
        stands_for[rows], factor[rows] = like, by
    rows = np.unique(program.row[left])
    sides = Sides(stands_for[rows], rows, factor[rows], _divided(b[rows], factor[rows]))
    is_equality = rows < program.equalities
    return sides.only(is_equality | (factor[rows] < 0)), sides.only(is_equality | (factor[rows] > 0))


def _alike(program: Program, value: Array, left: Mask) -> Iterator[tuple[Index, Index, Array]]:
    """Inequalities whose coefficients no Parameter moves, by their number of coefficients: rows, for each the first one with its
    coefficients up to a factor, and that factor."""
    entries = np.flatnonzero(left & (program.row >= program.equalities))
    entries = entries[np.argsort(program.row[entries], kind="stable")]
    rows, starts, counts = np.unique(program.row[entries], return_index=True, return_counts=True)
    for count in np.unique(counts).tolist():
        of = counts == count
        table = entries[starts[of][:, None] + np.arange(count)]
        values = value[table]
        fixed = np.isfinite(values).all(axis=1) & (values[:, 0] != 0.0)
        row, table, values = rows[of][fixed], table[fixed], values[fixed]
        if len(row):
            shape = np.c_[program.column[table], np.round(values / values[:, :1], 12) + 0.0]
            first, which = np.unique(shape, axis=0, return_index=True, return_inverse=True)[1:]
            like = first[which.ravel()]
            yield row, row[like], values[:, 0] / values[like, 0]
