"""The compiled problem on its persistent solver gives what cvxpy gives from scratch."""

from __future__ import annotations

from datetime import timedelta

import cvxpy as cp
import numpy as np
import pytest
import scipy.sparse as sp

from ems.errors import InvariantBroken, PlanInfeasible
from ems.plan.engine import COLD, HOT, SECOND, Engine
from ems.plan.matrices import CompiledMatrices
from ems.plan.problem import PlanProblem
from ems.timegrid import TimeGrid
from tests.plan.given import MONDAY, balance_rows, demo_site, plan_inputs


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


def test_a_budget_in_seconds_counts_from_each_run_although_the_solver_counts_its_whole_life() -> None:
    problem, given, _ = generator_problem()
    engine = Engine(cp.Problem(problem.objective, problem.constraints[:3]), budget_s=100.0)
    limits = []
    for k in range(4):
        given["price"].value, given["load"].value = 0.1 + 0.05 * np.sin(np.arange(24) + k), np.full(24, 100.0)
        engine.solve()
        h = engine._solver._highs
        assert h is not None
        limits.append(float(h.getOptionValue("time_limit")[1]))
        assert 0.0 < limits[-1] - 100.0 <= h.getRunTime() or k == 0
    assert limits == sorted(limits) and limits[0] < limits[-1]


def test_no_time_at_all_is_answered_by_the_second_solver() -> None:
    site = demo_site()
    problem = PlanProblem(site, TimeGrid.covering(48))
    problem.update(plan_inputs(site))
    engine = Engine(problem.problem, budget_s=1e-9)
    solution = engine.solve()
    assert solution.path == SECOND
    assert solution.objective == pytest.approx(problem.problem.solve(solver=cp.HIGHS, warm_start=False), rel=1e-5)


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


def generator_problem(n: int = 24, minimum_up: int = 3) -> tuple[cp.Problem, dict[str, cp.Parameter], dict[str, cp.Variable]]:
    """A load carried by the grid or by one generator that is on or off, with a start cost, a least load and a least time on."""
    price, load, was_on = cp.Parameter(n), cp.Parameter(n, nonneg=True), cp.Parameter(nonneg=True)
    on, start, generated, bought = cp.Variable(n, boolean=True), cp.Variable(n, nonneg=True), cp.Variable(n), cp.Variable(n, nonneg=True)
    constraints = [
        bought + generated == load,
        generated <= 100 * on,
        generated >= 40 * on,
        start[0] >= on[0] - was_on,
        start[1:] >= cp.diff(on),
        *(on[t] >= cp.sum(start[max(0, t - minimum_up + 1) : t + 1]) for t in range(n)),
    ]
    problem = cp.Problem(cp.Minimize(price @ bought + 0.12 * cp.sum(generated) + 6.0 * cp.sum(start)), constraints)
    return problem, {"price": price, "load": load, "was_on": was_on}, {"on": on, "generated": generated, "bought": bought}


def test_on_off_decisions_cost_what_a_cold_branch_and_bound_costs_and_the_rest_is_the_linear_optimum_with_them_held() -> None:
    problem, given, found = generator_problem()
    engine = Engine(problem, mip_rel_gap=1e-6)
    rng = np.random.default_rng(3)
    ons = set()
    for k in range(12):
        price = 0.12 + 0.1 * np.sin((np.arange(24) + k) / 4) + rng.normal(0, 0.01, 24)
        given["price"].value, given["load"].value, given["was_on"].value = price, rng.uniform(20, 160, 24), float(k % 2)
        solution = engine.solve()
        on, generated = engine.value(found["on"], solution), engine.value(found["generated"], solution)
        assert np.abs(on - np.round(on)).max() < 1e-9
        assert (generated <= 100 * on + 1e-6).all() and (generated >= 40 * on - 1e-6).all()
        ons.add(float(on.sum()))
        assert solution.gap <= 1e-6
        assert solution.objective == pytest.approx(problem.solve(solver=cp.HIGHS, warm_start=False, mip_rel_gap=1e-7), rel=1e-5)
    assert len(ons) > 3


def test_with_the_decisions_held_a_kwh_at_the_margin_is_worth_the_price_or_the_fuel() -> None:
    problem, given, found = generator_problem()
    engine = Engine(problem)
    given["price"].value, given["load"].value, given["was_on"].value = np.full(24, 0.5), np.full(24, 80.0), 0.0
    solution = engine.solve()
    assert engine.value(found["generated"], solution) == pytest.approx(np.full(24, 80.0))
    assert engine.compiled is not None
    duals = solution.row_dual[balance_rows(engine.compiled, found["bought"])]
    assert np.abs(duals) == pytest.approx(np.full(24, 0.12))
    given["load"].value = np.full(24, 130.0)
    solution = engine.solve()
    assert np.abs(solution.row_dual[balance_rows(engine.compiled, found["bought"])]) == pytest.approx(np.full(24, 0.5))


def test_a_decision_that_cannot_be_carried_out_is_named_infeasible_and_the_next_is_found() -> None:
    problem, given, found = generator_problem()
    limit = cp.Parameter(nonneg=True, value=1e3)
    engine = Engine(cp.Problem(problem.objective, [*problem.constraints, found["bought"] <= limit]))
    given["price"].value, given["load"].value, given["was_on"].value = np.full(24, 0.1), np.full(24, 120.0), 0.0
    engine.solve()
    limit.value = 10.0
    with pytest.raises(PlanInfeasible, match="on/off"):
        engine.solve()
    limit.value = 50.0
    assert engine.value(found["on"], engine.solve()).sum() == pytest.approx(24)


def test_the_second_solver_gives_the_same_optimum_and_the_same_duals() -> None:
    site = demo_site()
    problem = PlanProblem(site, TimeGrid.covering(48))
    problem.update(plan_inputs(site, seed=4))
    first, hurried = Engine(problem.problem), Engine(problem.problem, iterations=3)
    good, second = first.solve(), hurried.solve()
    assert second.path == SECOND and second.objective == pytest.approx(good.objective, rel=1e-5)
    assert first.compiled is not None
    balance = balance_rows(first.compiled, problem.import_kw)
    assert np.median(np.abs(second.row_dual[balance] - good.row_dual[balance])) < 1e-3


def test_what_a_constraint_is_worth_is_what_relaxing_it_saves_however_it_was_tightened() -> None:
    x, limit, ramp = cp.Variable(3, bounds=[0, 50]), cp.Parameter(3), cp.Parameter()
    rows = {
        "bound": x[0] <= limit[0],
        "double": 2 * x[0] + 2 * x[2] <= limit[1],
        "joint": x[0] + x[2] >= 1,
        "start": x[1] == limit[2],
        "ramp": cp.abs(x[2] - x[1]) <= 2.0,
    }
    problem = cp.Problem(cp.Minimize(-3 * x[0] - x[1] - 2 * x[2]), list(rows.values()))
    limit.value, ramp.value = np.array([4.0, 14.0, 3.0]), 1.0
    engine = Engine(problem)
    solution = engine.solve()
    assert engine.value(x, solution) == pytest.approx([4, 3, 3])
    assert engine.worth(rows["bound"], solution) == pytest.approx([1.0])  # one more of x0 for one less of x2
    assert engine.worth(rows["double"], solution) == pytest.approx([1.0])
    assert engine.worth(rows["joint"], solution) == pytest.approx([0.0])
    assert engine.worth(rows["start"], solution) == pytest.approx([1.0])
    with pytest.raises(ValueError, match="last solution"):
        engine.worth(rows["bound"], Engine(problem).solve())


def test_the_worth_of_all_constraints_of_a_plan_is_an_optimal_dual_of_the_problem_as_written() -> None:
    site = demo_site()
    problem = PlanProblem(site, TimeGrid.covering(48))
    problem.update(plan_inputs(site, seed=6))
    engine = Engine(problem.problem)
    solution = engine.solve()
    assert engine.compiled is not None
    program = engine.compiled.program
    now = program.parameters()
    a = sp.csr_matrix((program.values @ now, (program.row, program.column)), (program.rows_count, program.columns_count))
    worth = np.zeros(program.rows_count)
    for constraint in problem.problem.constraints:
        worth[program.rows(constraint)] = engine.worth(constraint, solution)
    slack = program.b @ now - a @ solution.x
    inequality = np.arange(program.rows_count) >= program.equalities
    assert worth[inequality].min() > -1e-7
    assert np.abs(worth * slack).max() < 1e-4
    reduced = program.cost @ now + a.T @ worth
    at_zero = np.zeros(program.columns_count, dtype=bool)
    at_zero[program.lower_of] = solution.x[program.lower_of] < 1e-7
    assert np.abs(reduced[~at_zero]).max() < 1e-6 and reduced[at_zero].min() > -1e-6
