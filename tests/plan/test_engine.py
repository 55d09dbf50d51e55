"""The compiled problem on its persistent solver gives what cvxpy gives from scratch."""

from __future__ import annotations

from datetime import timedelta

import cvxpy as cp
import numpy as np
import pytest

from ems.errors import InvariantBroken, PlanInfeasible
from ems.plan.engine import COLD, HOT, SECOND, Engine
from ems.plan.matrices import CompiledMatrices
from ems.plan.problem import PlanProblem
from ems.timegrid import TimeGrid
from tests.plan.given import MONDAY, demo_site, plan_inputs


def test_thirty_revised_plans_cost_what_a_cold_solve_costs() -> None:
    site = demo_site()
    problem = PlanProblem(site, TimeGrid.covering(48))
    engine = Engine(problem.problem)
    paths = []
    for k in range(30):
        problem.update(plan_inputs(site, MONDAY + timedelta(minutes=11 * k), seed=k // 3, peak_so_far_kw=40.0 * k))
        solution = engine.solve()
        paths.append(solution.path)
        cold = problem.problem.solve(solver=cp.HIGHS, warm_start=False)
        assert solution.objective == pytest.approx(cold, rel=1e-6)
    assert paths[0] == COLD and paths[1:].count(HOT) >= 28


def test_row_duals_are_the_price_of_one_more_kw() -> None:
    x, need = cp.Variable(2, nonneg=True), cp.Parameter(2)
    problem = cp.Problem(cp.Minimize(cp.Constant([2.0, 3.0]) @ x), [x + cp.hstack([x[1], 0]) == need])
    need.value = np.array([5.0, 1.0])
    engine = Engine(problem)
    solution = engine.solve()
    assert solution.objective == pytest.approx(2 * 4 + 3 * 1)
    assert engine.value(x, solution) == pytest.approx([4.0, 1.0])


def test_opposite_inequalities_become_one_row_with_two_sides_and_single_rows_become_bounds() -> None:
    x, low, high = cp.Variable(2), cp.Parameter(), cp.Parameter()
    problem = cp.Problem(cp.Minimize(x[0] + 2 * x[1]), [x[0] + x[1] >= low, x[0] + x[1] <= high, x >= -10, x <= 7])
    low.value, high.value = 1.0, 4.0
    compiled = CompiledMatrices(problem)
    assert compiled.matrices().a.shape == (1, 2)
    engine = Engine(problem)
    assert engine.solve().objective == pytest.approx(7 - 12)
    low.value, high.value = 9.0, 12.0
    assert engine.solve().objective == pytest.approx(7 + 4)
    x_, again = cp.Variable(2), problem.solve(solver=cp.HIGHS, warm_start=False)
    assert again == pytest.approx(11) and x_.size == 2


def test_a_budget_that_runs_out_is_answered_by_the_second_solver_and_says_so() -> None:
    site = demo_site()
    problem = PlanProblem(site, TimeGrid.covering(48))
    engine = Engine(problem.problem, iterations=3)
    problem.update(plan_inputs(site))
    solution = engine.solve()
    assert solution.path == SECOND
    assert solution.objective == pytest.approx(problem.problem.solve(solver=cp.HIGHS, warm_start=False), rel=1e-5)
    engine.iterations = None
    assert engine.solve().path == COLD and engine.solve().path == HOT


def test_no_answer_at_all_is_named_infeasible_and_the_next_problem_is_solved_again() -> None:
    x, least = cp.Variable(2, nonneg=True), cp.Parameter()
    problem = cp.Problem(cp.Minimize(cp.sum(x)), [cp.sum(x) <= 1, x[0] + 2 * x[1] >= least])
    engine = Engine(problem)
    least.value = 1.0
    assert engine.solve().objective == pytest.approx(0.5)
    least.value = 5.0
    with pytest.raises(PlanInfeasible, match="neither solver"):
        engine.solve()
    least.value = 2.0
    assert engine.solve().objective == pytest.approx(1.0)


def test_a_number_that_is_not_finite_is_refused_before_the_solver_sees_it() -> None:
    x, price = cp.Variable(nonneg=True), cp.Parameter()
    problem = cp.Problem(cp.Minimize(price * x), [x <= 1])
    engine = Engine(problem)
    price.value = 1.0
    engine.solve()
    price._value = np.array(np.nan)
    with pytest.raises(InvariantBroken, match="not finite"):
        engine.solve()
