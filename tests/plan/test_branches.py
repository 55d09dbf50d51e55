"""Other courses of the load in the plan: a common first stage, answers that obey the rules, peaks that are paid by their probability."""

from dataclasses import replace

import numpy as np
import pytest

from ems.plan.branches import FIRST_STAGE
from ems.plan.inputs import LoadBranch, PlanInputs
from ems.plan.plan import BranchPlan, decode_plan, encode_plan
from ems.plan.planner import Planner
from ems.plan.verify import verify
from tests.plan.given import demo_site, plan_inputs

SITE = demo_site()


def inputs_with(*branches: tuple[float, float], seed: int = 3, peak_so_far_kw: float = 0.0) -> PlanInputs:
    """Branches of a probability and a factor on the median."""
    given = plan_inputs(SITE, seed=seed, peak_so_far_kw=peak_so_far_kw)
    courses = tuple(LoadBranch(p, {k: np.minimum(v * f, 1080.0) for k, v in given.load_q50_kw.items()}) for p, f in branches)
    return replace(given, branches=courses)


@pytest.fixture(scope="module")
def planner() -> Planner:
    return Planner(SITE, branches=2)


def test_every_branch_is_answered_within_the_rules_and_reaches_a_higher_peak(planner: Planner):
    for seed in range(4):
        inputs = inputs_with((0.25, 1.1), (0.05, 1.25), seed=seed)
        plan = planner.plan(inputs)
        assert verify(SITE, inputs, plan) == []
        first, second = plan.branches
        assert plan.peak_kw - 1e-3 <= first.reach_kw[0] <= second.reach_kw[0] + 1e-3
        assert len(first.import_kw) == len(plan.import_kw) - FIRST_STAGE


def test_branches_like_the_median_change_nothing(planner: Planner):
    inputs = inputs_with((0.25, 1.0), (0.05, 1.0))
    plain = Planner(SITE).plan(replace(inputs, branches=()))
    plan = planner.plan(inputs)
    assert plan.objective == pytest.approx(plain.objective, rel=2e-3, abs=2.0)
    assert plan.peak_kw == pytest.approx(plain.peak_kw, abs=2.0)


def test_a_likely_higher_load_keeps_more_energy_for_it(planner: Planner):
    def least_kwh(probability: float) -> float:
        plan = planner.plan(inputs_with((probability, 1.15), (0.01, 1.15), peak_so_far_kw=1150.0))
        return sum(b.reach_kw[0] for b in plan.branches)

    assert least_kwh(0.6) < least_kwh(0.001) + 1e-6


def test_a_branch_is_neither_sent_nor_journalled(planner: Planner):
    plan = planner.plan(inputs_with((0.25, 1.1), (0.05, 1.2)))
    assert decode_plan(encode_plan(plan)).branches == ()
    assert plan.hash() == replace(plan, branches=()).hash()


@pytest.mark.parametrize("row", ["import_kw", "discharge_kw", "stored_kwh", "defer_kw", "backlog_kwh", "drop_kwh", "reach_kw"])
def test_one_number_of_a_branch_changed_is_refused(planner: Planner, row: str):
    inputs = inputs_with((0.25, 1.1), (0.05, 1.25))
    plan = planner.plan(inputs)
    numbers = list(getattr(plan.branches[0], row))
    step = 0 if row == "reach_kw" else 5
    numbers[step] += -400.0 if row == "reach_kw" else 40.0
    changed: BranchPlan = replace(plan.branches[0], **{row: tuple(numbers)})
    faults = verify(SITE, inputs, replace(plan, branches=(changed, plan.branches[1])))
    assert any("branch 0" in fault for fault in faults), faults


def test_a_branch_of_the_wrong_length_is_refused_by_name(planner: Planner):
    inputs = inputs_with((0.25, 1.1), (0.05, 1.25))
    short = LoadBranch(0.25, {k: v[:-1] for k, v in inputs.load_q50_kw.items()})
    assert "branch 0 of hall-a: 81 values for 82 steps" in replace(inputs, branches=(short, inputs.branches[1])).faults()
