"""Whole numbers first, then the linear program with them held: a plan with on/off decisions has duals and a hot basis like any other.

The relaxed program, solved hot, bounds the cost from below; its rounded decisions, held and solved hot, from above. Mostly the two meet
within the gap and no tree is needed; else the decisions of the last plan are tried, moved along with time, and then branch-and-bound
starts from the best of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import highspy
import numpy as np
from numpy.typing import NDArray

from ems.horizon import Horizon
from ems.plan.engine_align import Alignment, covering_steps
from ems.plan.engine_highs import give_budget, hand_over, model_of, new_highs
from ems.plan.engine_lp import Answer, HotSolver
from ems.plan.matrices import Matrices

Array = NDArray[np.float64]
Index = NDArray[np.int64]
MIP_REL_GAP = 1e-3
MIP_NODES = 2_000  # a replay's limit in place of seconds: far above what one generator needs (mostly 1)
MIP_OPTIONS: dict[str, bool | int | float | str] = {"random_seed": 0}


@dataclass(frozen=True)
class Decision:
    """The whole numbers, one per integral column; the answer with them held where it is known already; how far it may be from the best."""

    whole: Array
    gap: float
    answer: Answer | None = None

    def held(self, m: Matrices, integers: Index) -> Matrices:
        """The program with the decision held: a linear one."""
        return _held(m, integers, self.whole)


class Branching:
    """Decides the integral columns of one problem. `nodes` limits a tree in replay, `budget_s` each run in the daemon."""

    def __init__(self, integers: Index, gap: float, budget_s: float, iterations: int | None, nodes: int | None = MIP_NODES) -> None:
        self.integers, self.gap, self.budget_s, self.nodes = integers, gap, budget_s, nodes
        self._relaxed = HotSolver(budget_s, iterations)
        self._tree = Tree(integers, gap, budget_s, None if np.isfinite(budget_s) else nodes)
        self._last: tuple[Array, Horizon | None] | None = None

    def decide(self, m: Matrices, held: HotSolver, horizon: Horizon | None, alignment: Alignment | None) -> Decision | None:
        """The best decision found within the limits; `held` solves with it. None when there is no feasible one."""
        decision = self._met(m, held, horizon, alignment)
        if decision is None or decision.gap > self.gap:
            decision = self._tree.decide(m, decision.whole if decision else None) or decision
        if decision is not None:
            self._last = (decision.whole, horizon)
        return decision

    def _met(self, m: Matrices, held: HotSolver, horizon: Horizon | None, alignment: Alignment | None) -> Decision | None:
        """The better of the rounded and the last decision, the first of them that is within the gap; None when neither is feasible."""
        relaxed = self._relaxed.solve(m, horizon, alignment)
        if relaxed is None:
            return None
        held.begins_as(self._relaxed)
        best: Decision | None = None
        for whole in self._guesses(relaxed, horizon, alignment):
            answer = held.solve(_held(m, self.integers, whole), horizon, alignment, retry=False)
            if answer is None:
                continue
            gap = (answer.objective - relaxed.objective) / max(abs(answer.objective), 1e-9)
            if best is None or gap < best.gap:
                best = Decision(whole, max(gap, 0.0), answer)
            if gap <= self.gap:
                break
        return best

    def _guesses(self, relaxed: Answer, horizon: Horizon | None, alignment: Alignment | None) -> list[Array]:
        rounded = np.round(relaxed.x[self.integers])
        last = self._moved(horizon, alignment)
        return [rounded] if last is None or (last == rounded).all() else [rounded, last]

    def _moved(self, horizon: Horizon | None, alignment: Alignment | None) -> Array | None:
        """The last decision, each step's as it was for that time."""
        if self._last is None:
            return None
        whole, was_for = self._last
        if horizon is None or was_for is None or alignment is None or was_for.n != horizon.n:
            return whole
        columns, _ = alignment.taken_from(covering_steps(was_for, horizon))
        return whole[np.searchsorted(self.integers, columns[self.integers])]


class Tree:
    """A persistent branch-and-bound for one problem."""

    def __init__(self, integers: Index, gap: float, budget_s: float, nodes: int | None) -> None:
        self.integers, self.gap, self.budget_s, self.nodes = integers, gap, budget_s, nodes
        self._highs: highspy.Highs | None = None
        self._handed_over: Matrices | None = None

    def decide(self, m: Matrices, guess: Array | None) -> Decision | None:
        """The best decision found within the limits, first with the instance as it is, then with a new one. None when none is feasible."""
        decision = self._run(m, guess) if self._highs is not None else None
        if decision is None:
            self._highs = self._handed_over = None
            decision = self._run(m, guess)
        return decision

    def _run(self, m: Matrices, guess: Array | None) -> Decision | None:
        h = self._given(m)
        if guess is not None:
            h.setSolution(len(self.integers), self.integers.astype(np.int32), guess)
        give_budget(h, self.budget_s)
        h.run()
        info = h.getInfo()
        if info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
            return None
        whole = np.round(np.asarray(h.getSolution().col_value)[self.integers])
        return Decision(whole, float(info.mip_gap) if np.isfinite(info.mip_gap) else np.inf)

    def _given(self, m: Matrices) -> highspy.Highs:
        if self._highs is None or self._handed_over is None:
            self._highs = new_highs({**MIP_OPTIONS, "mip_rel_gap": self.gap})
            if self.nodes is not None:
                self._highs.setOptionValue("mip_max_nodes", self.nodes)
            self._highs.passModel(model_of(m, self.integers))
        else:
            hand_over(self._highs, self._handed_over, m)
        self._handed_over = m
        return self._highs


def _held(m: Matrices, integers: Index, whole: Array) -> Matrices:
    lower, upper = m.lower.copy(), m.upper.copy()
    lower[integers] = upper[integers] = whole
    return replace(m, lower=lower, upper=upper)
