"""What a plan lets flow through feeders, forward and back, alone and for a partner; and that the check counts it all over again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ems.plan.feeders import most_back_kw
from ems.plan.inputs import PlanInputs
from ems.plan.plan import Plan
from ems.plan.planner import Planner
from ems.plan.verify import verify
from ems.site.load import load_site
from ems.site.model import Feeder, Site
from tests.plan.given import demo_site, plan_inputs

DEMO = demo_site(1450.0)
SITES = Path(__file__).parents[2] / "config" / "sites"
HALLS = Feeder("halls", None, 2000.0, ("hall-a", "hall-b", "ups-1"))


def on_feeders(*feeders: Feeder) -> Site:
    return replace(DEMO, feeders=feeders)


def dear(site: Site, seed: int = 1) -> PlanInputs:
    """Three times the price: the battery gives all it can in the evening."""
    inputs = plan_inputs(site, seed=seed, peak_so_far_kw=1400.0)
    return replace(inputs, import_price_per_kwh=3.0 * inputs.import_price_per_kwh)


def battery_kw(plan: Plan) -> np.ndarray:
    return np.array(plan.power_kw["bess-1"])


@settings(max_examples=4, deadline=None)
@given(limit_kw=st.floats(60.0, 499.0), seed=st.integers(0, 30))
def test_a_battery_gives_no_more_through_its_feeder_than_the_feeder_may_carry(limit_kw: float, seed: int) -> None:
    site = on_feeders(HALLS, Feeder("bess-tx", None, limit_kw, ("bess-1",)))
    inputs = dear(site, seed)
    plan = Planner(site).plan(inputs)
    assert np.abs(battery_kw(plan)).max() <= limit_kw + 1e-3
    assert -battery_kw(plan).min() > 0.9 * limit_kw
    assert "feeds back within the feeder limit" in plan.worth["bess-tx"]
    assert verify(site, inputs, plan) == []


def test_what_may_flow_back_falls_with_the_outdoor_temperature() -> None:
    hot = Feeder("bess-tx", None, 400.0, ("bess-1",), limit_by_ambient_c=((20.0, 1.0), (35.0, 0.5)))
    site = on_feeders(HALLS, hot)
    inputs = dear(site)
    plan = Planner(site).plan(inputs)
    allowed = np.array([hot.allowed_kw(float(t)) for t in inputs.outdoor_temp_c])
    assert (np.abs(battery_kw(plan)) <= allowed + 1e-3).all()
    assert (-battery_kw(plan) > allowed - 1e-3).any() and allowed.min() < 300.0


def test_of_two_partners_either_alone_carries_what_both_feed_back() -> None:
    a, b = Feeder("a", None, 1500.0, ("hall-a", "hall-b", "house"), partner="b"), Feeder("b", None, 300.0, ("bess-1",), partner="a")
    assert most_back_kw(DEMO, a) == 0.0 < most_back_kw(DEMO, b) == most_back_kw(DEMO, a, b)
    names = set(Planner(on_feeders(a, b)).problem.constraints)
    assert {"b: feeds back within the feeder limit", "b: feeds back its partner's too"} <= names
    assert not any(name.startswith("a: feeds back") for name in names)  # 1,500 kW are more than can ever flow back


def rows_and_columns(site: Site) -> tuple[int, int]:
    compiled = Planner(site).engine._compile()
    return len(compiled.tight.rows), len(compiled.tight.columns)


def test_the_way_back_costs_no_row_and_only_feeders_that_need_it_a_column() -> None:
    rows, columns = rows_and_columns(on_feeders(HALLS, Feeder("bess-tx", None, 501.0, ("bess-1",))))
    turned_rows, turned_columns = rows_and_columns(on_feeders(HALLS, Feeder("bess-tx", None, 250.0, ("bess-1",))))
    assert (turned_rows - rows, turned_columns - columns) == (0, Planner(DEMO).grid.n)


@pytest.mark.parametrize("name", ["demo-2mw", "edge-5mw", "enterprise-50mw", "campus-300mw", "sovereign-100mw-smr", "hall-1mw"])
def test_at_no_shipped_site_can_more_flow_back_than_a_feeder_carries(name: str) -> None:
    site = load_site(SITES / f"{name}.yaml")
    for feeder in site.feeders:
        assert most_back_kw(site, feeder) <= feeder.allowed_kw(None)


def test_a_ups_that_only_relieves_what_hangs_below_with_it_gives_nothing_back() -> None:
    ups = DEMO.upses[0]
    assert most_back_kw(DEMO, HALLS) == 0.0
    apart = Feeder("ups", None, 100.0, (ups.id,))
    assert most_back_kw(DEMO, apart) == (ups.rating_kw if ups.is_grid_interactive else 0.0)


def refused(site: Site, plan: Plan, inputs: PlanInputs) -> str:
    return "; ".join(verify(site, inputs, plan))


@pytest.fixture(scope="module")
def free() -> tuple[PlanInputs, Plan]:
    """A plan with nothing in its way."""
    site = on_feeders(HALLS)
    inputs = dear(site)
    return inputs, Planner(site).plan(inputs)


def test_a_battery_that_charges_and_gives_more_than_its_feeder_carries_is_refused(free: tuple[PlanInputs, Plan]) -> None:
    inputs, plan = free
    said = refused(on_feeders(HALLS, Feeder("bess-tx", None, 250.0, ("bess-1",))), plan, inputs)
    assert "although a store below need not charge" in said and "bess-tx: feeds back 250.000 more than it may" in said


def test_either_of_two_partners_must_carry_both(free: tuple[PlanInputs, Plan]) -> None:
    inputs, plan = free
    a, b = Feeder("a", None, 2000.0, ("hall-a",), partner="b"), Feeder("b", None, 600.0, ("hall-b",), partner="a")
    assert "b, its partner's load included: above its limit" in refused(on_feeders(a, b), plan, inputs)
    assert refused(on_feeders(replace(a, partner=None), replace(b, partner=None)), plan, inputs) == ""


def test_a_feeder_carries_less_in_the_heat(free: tuple[PlanInputs, Plan]) -> None:
    inputs, plan = free
    cold = replace(HALLS, limit_kw=1400.0, limit_by_ambient_c=((45.0, 1.0), (50.0, 0.5)))
    hot = replace(cold, limit_by_ambient_c=((20.0, 1.0), (35.0, 0.5)))
    assert refused(on_feeders(cold), plan, inputs) == ""
    assert "halls: above its limit" in refused(on_feeders(hot), plan, inputs)


def test_cooling_and_fixed_loads_count_on_the_feeder_of_the_work_they_serve(free: tuple[PlanInputs, Plan]) -> None:
    inputs, plan = free
    it_kw = float((np.array(plan.power_kw["hall-a"]) + np.array(plan.power_kw["hall-b"])).max())
    alone, whole = Feeder("all", None, it_kw + 1.0, ("hall-a", "hall-b")), ("hall-a", "hall-b", "cooling-1", "house")
    assert refused(on_feeders(alone), plan, inputs) == ""
    assert "work could still be cut" in refused(on_feeders(replace(alone, assets=whole)), plan, inputs)


@settings(max_examples=5, deadline=None)
@given(
    limit_kw=st.floats(50.0, 1300.0), seed=st.integers(0, 30), assets=st.sampled_from([("bess-1",), ("hall-a", "cooling-1"), ("house",)])
)
def test_a_plan_that_could_not_do_better_stands(limit_kw: float, seed: int, assets: tuple[str, ...]) -> None:
    """Also where what nobody can take away is more than the feeder carries."""
    partner = Feeder("b", None, 0.8 * limit_kw, tuple({"hall-b", "bess-1"} - set(assets)), partner="a")
    site = on_feeders(Feeder("a", None, limit_kw, assets, partner="b"), partner)
    inputs = dear(site, seed)
    assert verify(site, inputs, Planner(site).plan(inputs)) == []
