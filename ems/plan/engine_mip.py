"""Whole numbers first: a persistent branch-and-bound decides them, the linear engine then answers with them held.

So that a plan with on/off decisions has duals and a hot basis like any other. The whole numbers of the last plan are handed over as a
first guess.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import highspy
import numpy as np
from numpy.typing import NDArray

from ems.plan.engine_highs import give_budget, hand_over, model_of, new_highs
from ems.plan.matrices import Matrices

Array = NDArray[np.float64]
Index = NDArray[np.int64]
MIP_REL_GAP = 1e-3
MIP_OPTIONS: dict[str, bool | int | float | str] = {"random_seed": 0}


@dataclass(frozen=True)
class Decision:
    """The whole numbers, one per integral column, and how far the answer may be from the best (relative)."""

    whole: Array
    gap: float

    def held(self, m: Matrices, integers: Index) -> Matrices:
        """The program with the decision held: a linear one."""
        lower, upper = m.lower.copy(), m.upper.copy()
        lower[integers] = upper[integers] = self.whole
        return replace(m, lower=lower, upper=upper)


class Branching:
    """Decides the integral columns of one problem. `nodes` limits a run in replay, `budget_s` in the daemon."""

    def __init__(self, integers: Index, gap: float, budget_s: float, nodes: int | None) -> None:
        self.integers, self.gap, self.budget_s, self.nodes = integers, gap, budget_s, nodes
        self._highs: highspy.Highs | None = None
        self._handed_over: Matrices | None = None
        self._last: Decision | None = None

    def decide(self, m: Matrices) -> Decision | None:
        """The best decision found within the limits: from the last one, else from nothing. None when there is no feasible one."""
        decision = self._run(m) if self._highs is not None else None
        if decision is None:
            self._highs = self._handed_over = None
            decision = self._run(m)
        self._last = decision or self._last
        return decision

    def _run(self, m: Matrices) -> Decision | None:
        h = self._prepared(m)
        if self._last is not None:
            h.setSolution(len(self.integers), self.integers.astype(np.int32), self._last.whole)
        give_budget(h, self.budget_s)
        h.run()
        info = h.getInfo()
        if info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
            return None
        whole = np.round(np.asarray(h.getSolution().col_value)[self.integers])
        return Decision(whole, float(info.mip_gap) if np.isfinite(info.mip_gap) else np.inf)

    def _prepared(self, m: Matrices) -> highspy.Highs:
        if self._highs is None or self._handed_over is None:
            self._highs = new_highs({**MIP_OPTIONS, "mip_rel_gap": self.gap})
            if self.nodes is not None:
                self._highs.setOptionValue("mip_max_nodes", self.nodes)
            self._highs.passModel(model_of(m, self.integers))
        else:
            hand_over(self._highs, self._handed_over, m)
        self._handed_over = m
        return self._highs
