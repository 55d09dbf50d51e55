"""What cooling really draws is learnt from hours of readings, and the plan reckons with it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from ems.messages import MinuteFrame
from ems.plan.cooling_draw import CoolingDraw, as_drawn
from ems.plan.inputs import LoadBranch
from ems.plan.planner import Planner
from ems.plan.verify import verify
from ems.site.model import Site
from tests.plan.given import MONDAY, demo_site, plan_inputs

SITE = demo_site()


def taught(site: Site, factor: float, hours: float, seed: int = 0, **broken: float | None) -> CoolingDraw:
    """A learner that saw some hours of a cooling that draws `factor` of its file; the readings in `broken` say something else."""
    learner, rng = CoolingDraw(site), np.random.default_rng(seed)
    for minute in range(int(60 * hours)):
        it_kw = {c.id: float(rng.uniform(c.idle_kw, c.peak_kw)) for c in site.clusters}
        outdoor_c = 22.0 + 10.0 * np.sin(minute / 200.0)
        cooling = site.coolings[0]
        draws_kw = factor * cooling.steady(sum(it_kw.values()), outdoor_c)[0]
        asset_kw: dict[str, float | None] = {**it_kw, cooling.id: float(draws_kw * rng.normal(1.0, 0.02)), **broken}
        learner.observe(MinuteFrame(MONDAY + timedelta(minutes=minute), 1000.0, asset_kw, {}, {}, {}, outdoor_c), 60.0)
    return learner


@pytest.mark.parametrize("factor", [0.85, 1.0, 1.0 / 0.9, 1.3])
def test_what_it_draws_of_its_file_is_learnt_within_hours(factor: float) -> None:
    assert taught(SITE, factor, hours=3).factors["cooling-1"] == pytest.approx(factor, rel=0.01)


def test_nothing_is_believed_before_an_hour_was_seen() -> None:
    assert taught(SITE, 1.2, hours=0.9).factors == {}


@pytest.mark.parametrize("broken", [{"cooling-1": 0.0}, {"cooling-1": None}, {"hall-a": None}, {"cooling-1": 5000.0}])
def test_a_trip_a_meter_gone_mad_or_a_missing_reading_teaches_nothing(broken: dict[str, float | None]) -> None:
    assert taught(SITE, 1.1, 3, **broken).factors == {}


def test_a_new_draw_replaces_the_old_one_within_a_day() -> None:
    learner = taught(SITE, 0.9, hours=24)
    rng, cooling = np.random.default_rng(1), SITE.coolings[0]
    for _ in range(24 * 60):
        it_kw = {c.id: float(rng.uniform(c.idle_kw, c.peak_kw)) for c in SITE.clusters}
        draws_kw = 1.2 * cooling.steady(sum(it_kw.values()), 25.0)[0]
        learner.observe(MinuteFrame(MONDAY, None, {**it_kw, cooling.id: draws_kw}, {}, {}, {}, 25.0), 60.0)
    assert learner.factors[cooling.id] == pytest.approx(1.2, rel=0.02)


def test_a_plan_reckons_with_it_and_stands_its_check_only_with_it() -> None:
    planner = Planner(SITE)
    as_filed, fouled = plan_inputs(SITE), replace(plan_inputs(SITE), cooling_factor={"cooling-1": 1.2})
    plain, more = planner.plan(as_filed), planner.plan(fouled)
    it_kw = sum(np.array(more.power_kw[c.id]) for c in SITE.clusters)
    assert np.mean(more.import_kw) > np.mean(plain.import_kw) + 0.02 * np.mean(it_kw)
    assert verify(SITE, fouled, more) == []
    assert any("import is not the sum" in fault for fault in verify(SITE, as_filed, more))
    again = planner.plan(as_filed)
    assert again.import_kw == pytest.approx(plain.import_kw, abs=0.5), "a factor of one plan must not stay in the next"


def test_branches_of_the_load_reckon_with_it_too() -> None:
    inputs = plan_inputs(SITE)
    inputs = replace(inputs, cooling_factor={"cooling-1": 1.15}, branches=(LoadBranch(0.25, inputs.load_q90_kw),))
    plan = Planner(SITE, branches=1).plan(inputs)
    assert verify(SITE, inputs, plan) == []


def test_without_anything_learnt_the_site_is_the_one_of_the_file() -> None:
    assert as_drawn(SITE, {}) is SITE
