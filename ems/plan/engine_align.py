"""Keeps the basis aligned with absolute time as the horizon slides: what was basic for 14:05-14:10 stays so in the next plan.

Without it a column keeps its status by its place in the horizon, which is another time in every plan: a stale basis, several times the
iterations. Works on any grid: each new step takes the statuses of the old step that covers its middle.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property

import highspy
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ems.horizon import Horizon
from ems.plan.matrices import CompiledMatrices, Matrices

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Table = tuple[int, list[Index]]  # how many there are, and for each kind its numbers by step
STAY_SHARE = 0.5  # a basis of which fewer steps moved stays: on the demo site's grid that is as good and spares a millisecond of lists
STATUSES = np.array([highspy.HighsBasisStatus(k) for k in range(4)], dtype=object)
LOWER, BASIC, UPPER, FREE = range(4)  # as HiGHS numbers them
STATIC = -2  # a column of no step (a peak); -1 is the start of the horizon, the first value of a store


class Alignment:
    """Which column and row of the tightened program belongs to which step, for horizons of `steps` steps.

    Variables with one value per step or one more (energies: the value at the end of a step belongs to it) have steps; others take the step
    of the rows they stand in when these agree. Worked out when first asked for: the first plan has no basis to move.
    """

    def __init__(self, compiled: CompiledMatrices, steps: int) -> None:
        self._compiled, self.steps = compiled, steps

    @cached_property
    def _tables(self) -> tuple[Table, Table]:
        """Of columns and of rows."""
        rows = self._compiled.pattern_by_row()
        step, family = _columns(self._compiled, self.steps)
        _infer_steps(rows, step, family)
        columns = _table([(int(f), int(t)) for f, t in zip(family, step, strict=True)], self.steps)
        return columns, _table(_row_keys(rows, self._compiled.is_equality, step, family), self.steps)

    def taken_from(self, source: Index) -> tuple[Index, Index]:
        """For each column and row the one whose old status it takes, when step k now covers what step `source[k]` covered."""
        columns, rows = self._tables
        return _moved(columns, source), _moved(rows, source)


class SlidingBasis:
    """Moves the basis of one HiGHS instance along with the horizon."""

    def __init__(self, alignment: Alignment) -> None:
        self.alignment = alignment
        self._last: Horizon | None = None
        self._moves: dict[bytes, tuple[Index, Index]] = {}

    def starts_at(self, horizon: Horizon) -> None:
        """The next solve has no basis to move."""
        self._last = horizon

    def slid(self, h: highspy.Highs, horizon: Horizon, m: Matrices, x: Array | None) -> highspy.HighsBasis | None:
        """The basis of the last solve (of `m`, answered by `x`) for the new horizon; None when it stays as it is or is not known."""
        last, self._last = self._last, horizon
        if last is None or x is None or last.n != horizon.n:
            return None
        source = covering_steps(last, horizon)
        if np.mean(source != np.arange(len(source))) <= STAY_SHARE:
            return None
        statuses = basis_of(h, m, x)
        if statuses is None:
            return None
        columns, rows = self._moved(source)
        basis = highspy.HighsBasis()
        basis.col_status, basis.row_status = STATUSES[statuses[0][columns]], STATUSES[statuses[1][rows]]  # type: ignore[assignment]
        basis.valid = basis.alien = True  # alien: its size may be off and it may be singular, HiGHS repairs it
        return basis

    def _moved(self, source: Index) -> tuple[Index, Index]:
        key = source.tobytes()
        if key not in self._moves:
            self._moves[key] = self.alignment.taken_from(source)
        return self._moves[key]


def basis_of(h: highspy.Highs, m: Matrices, x: Array) -> tuple[Index, Index] | None:
    """Numbers of STATUSES for columns and rows, None when HiGHS has no basis. Told from which are basic and where the others stand:
    HiGHS's own lists of statuses take ten times as long to read."""
    status, basic = h.getBasicVariables()  # type: ignore[attr-defined]
    if status != highspy.HighsStatus.kOk:
        return None
    basic = np.asarray(basic)
    columns, rows = _sides(x, m.lower, m.upper), _sides(m.a @ x, m.row_lower, m.row_upper)
    columns[basic[basic >= 0]] = BASIC
    rows[-basic[basic < 0] - 1] = BASIC
    return columns, rows


def _sides(at: Array, lower: Array, upper: Array) -> Index:
    side = np.where(np.abs(at - upper) < np.abs(at - lower), UPPER, LOWER)
    side[np.isinf(lower) & np.isinf(upper)] = FREE
    return side


def covering_steps(old: Horizon, new: Horizon) -> Index:
    """For each step of the new horizon the old step that covers its middle; the last one for what lies beyond."""
    start = old.starts[0]
    ends = np.cumsum(old.duration_h)
    hours = np.array(new.duration_h)
    middle = (new.starts[0] - start).total_seconds() / 3600 + np.cumsum(hours) - hours / 2
    return np.clip(np.searchsorted(ends, middle, side="right"), 0, len(ends) - 1)


def _columns(compiled: CompiledMatrices, steps: int) -> tuple[Index, Index]:
    """Step and family (one per row of a variable) of each column that the solver sees."""
    step, family = np.full(compiled.program.columns_count, STATIC), np.arange(compiled.program.columns_count)
    for first, shape in compiled.program.variables():
        last = shape[-1] if shape else 0
        if last in (steps, steps + 1):
            size, entries = int(np.prod(shape)), np.arange(int(np.prod(shape)))
            lead = size // last
            step[first : first + size] = entries // lead - (last - steps)
            family[first : first + size] = first + entries % lead
    return step[compiled.tight.columns], family[compiled.tight.columns]


def _infer_steps(rows: sp.csr_matrix, step: Index, family: Index) -> None:
    """Columns of leading steps only: they stand in rows of one step each, one after the other."""
    known = np.array([step[rows.indices[a:b]].max(initial=STATIC) for a, b in zip(rows.indptr[:-1], rows.indptr[1:], strict=True)])
    by_column = sp.csc_matrix(rows)
    for column in np.flatnonzero(step == STATIC).tolist():
        found = set(known[by_column.indices[by_column.indptr[column] : by_column.indptr[column + 1]]].tolist())
        if len(found) == 1 and (only := found.pop()) >= 0:
            step[column], family[column] = only, -1 - (column - only)


def _row_keys(rows: sp.csr_matrix, is_equality: NDArray[np.bool_], step: Index, family: Index) -> list[tuple[object, int]]:
    """The kind of each row (what stands in it at its own, latest step and without one) and that step."""
    keys: list[tuple[object, int]] = []
    for row, (first, end) in enumerate(zip(rows.indptr[:-1].tolist(), rows.indptr[1:].tolist(), strict=True)):
        columns = rows.indices[first:end]
        own = int(step[columns].max(initial=STATIC))
        kind = tuple(sorted(family[columns[(step[columns] == own) | (step[columns] == STATIC)]].tolist()))
        keys.append(((bool(is_equality[row]), kind), own))
    return keys


def _table(keys: list[tuple[object, int]], steps: int) -> Table:
    """How many there are, and for each kind its numbers by step: (n-th of its kind in a step) x step, -1 where there is none."""
    by_kind: dict[object, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for number, (kind, step) in enumerate(keys):
        if step >= 0:
            by_kind[kind][step].append(number)
    tables = []
    for by_step in by_kind.values():
        table = np.full((max(map(len, by_step.values())), steps), -1)
        for step, numbers in by_step.items():
            table[: len(numbers), step] = numbers
        tables.append(table)
    return len(keys), tables


def _moved(tables: Table, source: Index) -> Index:
    count, all_tables = tables
    result = np.arange(count)
    for table in all_tables:
        old = table[:, source]
        both = (table >= 0) & (old >= 0)
        result[table[both]] = old[both]
    return result
