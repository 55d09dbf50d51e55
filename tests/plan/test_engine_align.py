"""The basis moves along with the time it was for, on any grid; the optimum does not."""

from __future__ import annotations

from datetime import timedelta

import cvxpy as cp
import numpy as np
import pytest

from ems.horizon import Horizon
from ems.plan.engine import COLD, HOT, Engine
from ems.plan.engine_align import Alignment, covering_steps
from ems.plan.matrices import CompiledMatrices
from ems.plan.problem import PlanProblem
from ems.timegrid import TimeGrid
from tests.benchmarks.our_form import OurForm
from tests.benchmarks.reference.mpc_ref import Site
from tests.plan.given import MONDAY, balance_rows, demo_site, plan_inputs

GRID = TimeGrid.covering(48)


def even(minutes: int, n: int, start_min: int = 0) -> Horizon:
    starts = tuple(MONDAY + timedelta(minutes=start_min + minutes * k) for k in range(n))
    return Horizon(starts, (minutes / 60,) * n)


def test_each_new_step_takes_the_old_step_that_covers_its_middle() -> None:
    assert covering_steps(even(5, 6), even(5, 6, start_min=5)).tolist() == [1, 2, 3, 4, 5, 5]
    assert covering_steps(even(5, 4), even(5, 4)).tolist() == [0, 1, 2, 3]
    assert covering_steps(even(60, 4), even(15, 4, start_min=50)).tolist() == [0, 1, 1, 1]
    assert covering_steps(even(5, 3), even(5, 3, start_min=500)).tolist() == [2, 2, 2]
    fine, later = GRID.at(MONDAY), GRID.at(MONDAY + timedelta(minutes=5))
    source = covering_steps(fine, later)
    for k, old in enumerate(source.tolist()):
        middle = later.starts[k] + timedelta(hours=later.duration_h[k] / 2)
        if middle < fine.end:
            assert fine.starts[old] <= middle < fine.starts[old] + timedelta(hours=fine.duration_h[old])


def test_columns_and_rows_move_to_the_same_kind_of_another_step() -> None:
    problem = PlanProblem(demo_site(), GRID)
    problem.update(plan_inputs(demo_site()))
    compiled = CompiledMatrices(problem.problem)
    source = np.minimum(np.arange(GRID.n) + 1, GRID.n - 1)
    columns, rows = Alignment(compiled, GRID.n).taken_from(source)
    place = {int(c): k for k, c in enumerate(compiled.tight.columns)}
    power = [place[c] for c in range(*compiled.columns(problem.import_kw).indices(2**62))]
    assert columns[power].tolist() == [*power[1:], power[-1]]
    energy_at = compiled.columns(problem.blocks.batteries["bess-1"].energy_kwh)
    energy = [place[c] for c in range(energy_at.start + 1, energy_at.stop)]  # the first is measured and not among the columns
    assert columns[energy].tolist() == [*energy[1:], energy[-1]]
    balance = balance_rows(compiled, problem.import_kw)
    assert rows[balance].tolist() == [*balance[1:].tolist(), balance[-1]]
    assert (np.sort(np.unique(columns)) < len(compiled.tight.columns)).all() and (rows != np.arange(len(rows))).mean() > 0.8


def test_consecutive_plans_in_closed_loop_cost_what_a_cold_solve_costs_and_take_fewer_iterations_than_unaligned_ones() -> None:
    site = Site(N=96, noise="rev")
    data = site.data(0)
    aligned, plain = OurForm(site, data), OurForm(site, data)
    spent = np.zeros(2)
    for k in range(10):
        found, other = aligned.solve(k, data), plain.solve(k, data, aligned=False)
        assert found.path == other.path == (HOT if k else COLD)
        assert found.objective == pytest.approx(other.objective, rel=1e-6)
        if k % 4 == 0:
            assert found.objective == pytest.approx(aligned.problem.solve(solver=cp.HIGHS, warm_start=False), rel=1e-6)
        spent += (found.iterations, other.iterations) if k else (0, 0)
        data = site.data(k + 1, site.advance(data, aligned.raw(found), aligned.offsets))
    assert spent[0] < 0.75 * spent[1]  # a fifth of them on 288 steps


def test_the_same_plans_in_the_same_order_give_the_same_numbers_to_the_last_bit() -> None:
    problem = PlanProblem(demo_site(), GRID)
    first, again = Engine(problem.problem), Engine(problem.problem)
    for k in (0, 1, 2, 9, 3):
        inputs = plan_inputs(problem.site, MONDAY + timedelta(minutes=5 * k), seed=k)
        problem.update(inputs)
        assert first.solve(inputs.horizon).x.tobytes() == again.solve(inputs.horizon).x.tobytes()


def test_a_jump_of_hours_or_back_in_time_is_solved_like_any_other() -> None:
    problem = PlanProblem(demo_site(), GRID)
    engine = Engine(problem.problem)
    for minutes in (0, 5, 700, 10, 9000, 9005):
        inputs = plan_inputs(problem.site, MONDAY + timedelta(minutes=minutes))
        problem.update(inputs)
        solution = engine.solve(inputs.horizon)
        assert solution.objective == pytest.approx(problem.problem.solve(solver=cp.HIGHS, warm_start=False), rel=1e-6)
