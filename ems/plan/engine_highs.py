"""HiGHS as the engine uses it: one instance that lives long, differences handed over, answers read back."""

from __future__ import annotations

import highspy
import numpy as np
from numpy.typing import NDArray

from ems.plan.matrices import Matrices

Array = NDArray[np.float64]
Index = NDArray[np.int64]
LP_OPTIONS: dict[str, bool | int | float | str] = {
    "solver": "simplex",
    "simplex_strategy": 1,  # serial dual simplex: the parallel one ignores the basis it is given
    "simplex_dual_edge_weight_strategy": 1,  # Devex: steepest edge recomputes its weights after every set of changes
    "simplex_scale_strategy": 0,  # unscaled: a third fewer iterations and half the time in consecutive solves of the reference problem
    "dual_simplex_cost_perturbation_multiplier": 0.1,  # with 16 like storages a quarter less time than at 1, otherwise no difference
    "simplex_update_limit": 5000,  # HiGHS's own
}

COLD_OPTIONS: dict[
    str, bool | int | float | str
] = {  # mostly what HiGHS chooses itself: the campus (22,000 columns) from nothing in 1.1 s, not 4.2
    "simplex_dual_edge_weight_strategy": -1,
    "simplex_scale_strategy": 2,
    "dual_simplex_cost_perturbation_multiplier": 1.0,
    "simplex_update_limit": 200,  # the basis is factored anew more often: a tenth less than with 5000 on the campus
}
LARGE = 10_000  # columns; below it a solve from nothing takes as long either way


def new_highs(options: dict[str, bool | int | float | str]) -> highspy.Highs:
    """A silent instance on one thread."""
    h = highspy.Highs()
    set_options(h, {"output_flag": False, "threads": 1, **options})
    return h


def model_of(m: Matrices, integers: Index | None = None) -> highspy.HighsLp:
    """The program as HiGHS takes it; `integers` are the columns that must be whole."""
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = len(m.cost), len(m.row_lower)
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = m.cost, m.lower, m.upper
    lp.row_lower_, lp.row_upper_ = m.row_lower, m.row_upper
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = m.a.indptr, m.a.indices, m.a.data
    if integers is not None:
        kinds = [highspy.HighsVarType.kContinuous] * len(m.cost)
        for column in integers.tolist():
            kinds[column] = highspy.HighsVarType.kInteger
        lp.integrality_ = kinds
    return lp


def hand_over(h: highspy.Highs, old: Matrices, new: Matrices) -> None:
    """Tells HiGHS what differs; the sparsity pattern never does."""
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


def set_options(h: highspy.Highs, options: dict[str, bool | int | float | str]) -> None:
    """Sets options of an instance in use."""
    for name, value in options.items():
        h.setOptionValue(name, value)


def give_budget(h: highspy.Highs, budget_s: float) -> None:
    """Limits the next run: HiGHS counts the clock over the life of the instance."""
    if np.isfinite(budget_s):
        h.setOptionValue("time_limit", h.getRunTime() + budget_s)
