"""The tightened program is the compiled one: the same numbers, the same optimum, fewer rows and columns."""

from __future__ import annotations

import cvxpy as cp
import highspy
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from ems.errors import PlanInfeasible
from ems.plan.engine import Engine
from ems.plan.engine_highs import LP_OPTIONS, model_of, new_highs
from ems.plan.engine_program import Program
from ems.plan.matrices import CompiledMatrices
from ems.plan.problem import PlanProblem
from ems.timegrid import TimeGrid
from tests.plan.given import demo_site, plan_inputs


def demo_problem(seed: int = 2) -> PlanProblem:
    site = demo_site()
    problem = PlanProblem(site, TimeGrid.covering(48))
    problem.update(plan_inputs(site, seed=seed))
    return problem


def test_the_maps_read_from_cvxpy_give_what_its_own_apply_parameters_gives() -> None:
    problem = demo_problem().problem
    data, _, _ = problem.get_problem_data(cp.HIGHS)
    assert {"param_prob", "dims", "c", "A", "b", "lower_bounds", "upper_bounds", "bool_vars_idx", "int_vars_idx"} <= set(data)
    program = Program(problem)
    q, offset, a, b = data["param_prob"].apply_parameters(keep_zeros=True)
    now = program.parameters()
    entries = (program.values @ now, (program.row, program.column))
    ours = sp.csc_matrix(entries, (program.rows_count, program.columns_count))
    assert q.shape == (program.columns_count,) and b.shape == (program.rows_count,) and a.shape == ours.shape
    assert program.cost @ now == pytest.approx(q) and program.b @ now == pytest.approx(b)
    assert float((program.offset @ now)[0]) == pytest.approx(float(offset))
    assert abs(ours + sp.csc_matrix(a)).max() < 1e-12
    assert abs(ours - sp.csc_matrix(data["A"])).max() < 1e-12


def test_variables_and_constraints_stand_where_cvxpy_says_they_stand() -> None:
    problem = demo_problem()
    problem.problem.solve(solver=cp.HIGHS, warm_start=False)
    program = Program(problem.problem)
    x = np.zeros(program.columns_count)
    for variable in problem.problem.variables():
        x[program.columns(variable)] = variable.value.ravel(order="F")
    now = program.parameters()
    ax = sp.csr_matrix((program.values @ now, (program.row, program.column)), (program.rows_count, program.columns_count)) @ x
    slack = program.b @ now - ax
    for constraint in problem.problem.constraints:
        residual = constraint.expr.value
        assert slack[program.rows(constraint)] == pytest.approx(-np.ravel(residual, order="F"), abs=1e-6)


def test_the_program_the_solver_sees_is_smaller_and_has_the_same_optimum_and_duals() -> None:
    problem = demo_problem()
    compiled = CompiledMatrices(problem.problem)
    program, m = compiled.program, compiled.matrices()
    assert len(m.row_lower) < 0.65 * program.rows_count
    assert len(compiled.tight.held) >= 8  # the measured energies and backlogs
    solution = Engine(problem.problem).solve()
    assert solution.objective == pytest.approx(problem.problem.solve(solver=cp.HIGHS, warm_start=False), rel=1e-9)
    for name, block in problem.blocks.stores.items():
        first = compiled.columns(block.energy_kwh).start
        fell = solution.objective - optimum_with_more_stored(problem, name, 0.01)
        assert -solution.column_dual[first] == pytest.approx(fell / 0.01, abs=2e-3)


def optimum_with_more_stored(problem: PlanProblem, store: str, kwh: float) -> float:
    block = problem.blocks.stores[store]
    parameter = next(p for p in block.constraints["starts at the measured energy"].parameters())
    was = parameter.value
    parameter.value = was + kwh
    found = float(problem.problem.solve(solver=cp.HIGHS, warm_start=False))
    parameter.value = was
    return found


def test_an_absolute_value_below_a_limit_costs_one_row_and_no_column() -> None:
    x, start = cp.Variable(3, bounds=[0, 9]), cp.Parameter()
    limits = [cp.abs(cp.diff(x)) <= np.array([1.5, 0.5]), cp.abs(x[0] - start) <= 1.5, cp.sum(x) >= 4]
    problem = cp.Problem(cp.Minimize(cp.Constant([3.0, -2.0, 1.0]) @ x), limits)
    engine = Engine(problem)
    for start.value in (2.0, 5.0, 9.5):
        assert engine.solve().objective == pytest.approx(problem.solve(solver=cp.HIGHS, warm_start=False))
    assert engine.compiled is not None
    assert engine.compiled.matrices().a.shape == (3, 3)  # two steps and the sum; the first step is a bound


def test_rows_that_are_multiples_of_each_other_become_one() -> None:
    x, a, b = cp.Variable(2, nonneg=True), cp.Parameter(), cp.Parameter()
    rows = [x[0] + 2 * x[1] <= a, 3 * x[0] + 6 * x[1] <= b, -2 * x[0] - 4 * x[1] <= -1.0]
    problem = cp.Problem(cp.Minimize(-x[0] - x[1]), rows)
    a.value, b.value = 4.0, 9.0
    compiled = CompiledMatrices(problem)
    m = compiled.matrices()
    assert m.a.shape == (1, 2) and (m.row_lower[0], m.row_upper[0]) == (0.5, 3.0)
    b.value = 30.0
    assert compiled.matrices().row_upper[0] == 4.0


def test_rows_a_parameter_stands_in_are_never_merged() -> None:
    x, k = cp.Variable(2, nonneg=True), cp.Parameter(nonneg=True, value=1.0)
    problem = cp.Problem(cp.Minimize(-x[0] - x[1]), [x[0] + k * x[1] <= 4, x[0] + x[1] <= 4, k * x[0] <= 3])
    engine = Engine(problem)
    assert engine.solve().objective == pytest.approx(-4)
    k.value = 2.0
    assert engine.solve().objective == pytest.approx(-2.75)


def test_given_values_that_contradict_each_other_are_infeasible_by_name() -> None:
    x, start = cp.Variable(3), cp.Parameter()
    problem = cp.Problem(cp.Minimize(cp.sum(x)), [x[0] == start, x >= 0, x[1] == 2 * start, x[0] + x[1] <= 12])
    start.value = 3.0
    assert Engine(problem).solve().objective == pytest.approx(9)
    start.value = -1.0
    with pytest.raises(PlanInfeasible, match="no room"):
        Engine(problem).solve()
    start.value = 5.0
    with pytest.raises(PlanInfeasible, match="contradict"):
        Engine(problem).solve()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_any_small_program_has_the_same_optimum_tightened_as_written(seed: int) -> None:
    """Bounds, singles, multiples, pairs, equalities and held columns in random order, three sets of Parameters each."""
    rng = np.random.default_rng(seed)
    n = 5
    x, p = cp.Variable(n, bounds=[-10, 10]), cp.Parameter(n)
    rows = [k * (rng.integers(-2, 3, n) @ x) <= p[int(rng.integers(n))] + 5 for k in rng.choice([-2.0, 1.0, 1.0, 3.0], 4)]
    pair = rng.integers(-2, 3, n)
    rows += [pair @ x <= 6 + p[0], -2.0 * (pair @ x) <= 8 + p[1], x[1] <= p[2] + 4, 2 * x[2] >= p[3] - 6, x[0] == 0.1 * p[4]]
    rows += [cp.abs(x[3] - x[4]) <= 3 + p[1], x[1] + 2 * x[2] + x[3] == 0.5 * p[0]]
    problem = cp.Problem(cp.Minimize(rng.integers(-3, 4, n) @ x), rows)
    p.value = np.zeros(n)
    engine = Engine(problem)
    for _ in range(3):
        p.value = rng.uniform(-1, 1, n)
        written = problem.solve(solver=cp.CLARABEL)
        if problem.status == cp.OPTIMAL:
            assert engine.solve().objective == pytest.approx(written, abs=1e-5)
        else:
            with pytest.raises(PlanInfeasible):
                engine.solve()


def test_the_pattern_never_changes_and_the_numbers_follow_the_parameters() -> None:
    site = demo_site()
    problem = PlanProblem(site, TimeGrid.covering(48))
    problem.update(plan_inputs(site))
    compiled = CompiledMatrices(problem.problem)
    first = compiled.matrices()
    for seed in range(4):
        problem.update(plan_inputs(site, seed=seed, peak_so_far_kw=300.0 * seed))
        m = compiled.matrices()
        assert m.a.indices is first.a.indices or (m.a.indices == first.a.indices).all()
        h = new_highs(LP_OPTIONS)
        h.passModel(model_of(m))
        h.run()
        assert h.getModelStatus() == highspy.HighsModelStatus.kOptimal
        cold = problem.problem.solve(solver=cp.HIGHS, warm_start=False)
        assert h.getInfo().objective_function_value + m.offset == pytest.approx(cold, rel=1e-6)
