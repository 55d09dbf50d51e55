"""From a solution to what binds in each step: the worth of one more unit of room in every limit of the plan."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

from ems.plan.blocks import checkpoints
from ems.plan.engine import Engine, Solution
from ems.plan.problem import PlanProblem
from ems.plan.worth import DAILY, WHOLE, Worth, of_day, told

Array = NDArray[np.float64]
LEAST = 1e-3  # money per unit: less is the plan's own tie-breaks


class Worths:
    """The limits of one problem, found once."""

    def __init__(self, problem: PlanProblem) -> None:
        n, boundaries = problem.grid.n, checkpoints(problem.grid)
        self.step_of = {n: list(range(n)), n + 1: [0, *range(n)], len(boundaries): [k - 1 for k in boundaries]}
        self.per_degree = {name: cold.plant.store_kwh_per_k for name, cold in problem.blocks.colds.items()}
        self.limits: list[tuple[str, str, cp.Constraint]] = []
        for name, constraint in problem.constraints.items():
            part, _, rule = name.partition(": ")
            if told(rule) is not None:
                self.limits.append((part, rule, constraint))

    def of(self, engine: Engine, solution: Solution) -> Worth:
        """Per part and rule the steps in which it binds, with what one more unit saves; per degree where it is cold."""
        out: dict[str, dict[str, tuple[tuple[int, float], ...]]] = {}
        for part, rule, constraint in self.limits:
            value = engine.worth(constraint, solution)
            if "cold" in rule and ("supply" in rule or "loop" in rule):
                value = value * self.per_degree[part]
            rows = {of_day(rule, day): value[[day]] for day in range(len(value))} if rule in DAILY else {rule: value}
            for name, row in rows.items():
                if steps := self._steps(row):
                    out.setdefault(part, {})[name] = steps
        return out

    def _steps(self, value: Array) -> tuple[tuple[int, float], ...]:
        """Entries worth something, each with the step it belongs to (an energy to the step before it), or the whole plan."""
        step_of = self.step_of.get(len(value))
        found: dict[int, float] = {}
        for k in np.flatnonzero(value >= LEAST).tolist():
            step = WHOLE if step_of is None else step_of[k]
            found[step] = max(found.get(step, 0.0), round(float(value[k]), 4))
        return tuple(found.items())
