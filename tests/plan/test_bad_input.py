"""Whatever rows, frames, events and states arrive: a plan that stands its check, or no plan with a reason; never anything else."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ems.app.planner import HOSTILE
from ems.assets.workload.model import DUE_HOURS, ClassState
from ems.control.snapshot import encode_snapshot
from ems.errors import EmsError, PlanInfeasible
from ems.messages import MinuteFrame
from ems.obligation import Obligation, ObligationKind
from ems.plan.loop import PlanLoop
from ems.plan.plan import Plan
from ems.plan.planner import Planner
from ems.plan.state import PlanState
from ems.plan.verify import verify
from ems.signals.prices import PriceRow
from ems.site.load import load_site
from tests.control.loop import Loop, even
from tests.plan.given import MONDAY, backlog
from tests.plan.test_loop import state
from tests.site.conftest import DEMO

SITE = load_site(DEMO, {"point_of_connection": {"import_limit_kw": 1370.0}, "plan": {"horizon_h": 6}})
PLANNER = Planner(SITE)
QUARTER, HOUR = timedelta(minutes=15), timedelta(hours=1)


def new_loop() -> PlanLoop:
    """A plan loop without history; the compiled problem and its solver are shared, as they are from plan to plan."""
    loop = PlanLoop(SITE)
    loop.__dict__["planner"] = PLANNER
    return loop


def planned(loop: PlanLoop, given_state: PlanState, now: datetime = MONDAY) -> Plan:
    plan = loop.plan(now, given_state)
    assert loop.inputs is not None and verify(SITE, loop.inputs, plan) == []
    return plan


def rows(prices: list[float], start: datetime = MONDAY - HOUR, known: datetime | None = None) -> list[PriceRow]:
    stamps = [start + QUARTER * k for k in range(len(prices))]
    return [PriceRow(s, s + QUARTER, known or s + QUARTER, p) for s, p in zip(stamps, prices, strict=True)]


# -- the list ------------------------------------------------------------------------------------------------------------------------


def test_missing_prices_are_never_zero_and_the_plan_says_what_it_used() -> None:
    plan = planned(new_loop(), state())
    assert set(plan.price_per_kwh) == {0.05} and plan.lines[-1].startswith("price: declared fallback price")


def test_a_late_price_counts_from_when_it_came() -> None:
    loop = new_loop()
    loop.add_prices(rows([0.4] * 4, known=MONDAY + HOUR))
    assert max(planned(loop, state()).price_per_kwh) == 0.05
    assert max(planned(loop, state(MONDAY + HOUR), MONDAY + HOUR).price_per_kwh) > 0.2


def test_a_revised_price_replaces_the_first_from_then_on() -> None:
    loop, ahead = new_loop(), MONDAY + timedelta(minutes=30)
    for price, known in ((0.1, MONDAY - HOUR), (0.3, MONDAY + QUARTER)):
        loop.add_prices([PriceRow(ahead, ahead + HOUR, known, price)])
    found = [loop.make_inputs(now, state(now)).import_price_per_kwh for now in (MONDAY, MONDAY + QUARTER)]
    assert [float(np.max(p)) for p in found] == pytest.approx([0.1, 0.3], abs=0.03)


def test_absurd_and_nonfinite_prices_are_left_out_and_counted() -> None:
    loop = new_loop()
    loop.add_prices(rows([math.nan, math.inf, 1e6, -50.0, 0.07]))
    plan = planned(loop, state())
    assert max(plan.price_per_kwh) < 0.1
    quality = loop.prices.data_quality()  # type: ignore[attr-defined]
    assert (quality["real_time_missing"], quality["real_time_absurd"], quality["real_time_rows"]) == (2, 2, 1)


@pytest.mark.parametrize(("soc", "store"), [(1.0, "above"), (0.0, "below")])
def test_a_store_outside_its_window_at_the_start_comes_back_and_goes_no_further(soc: float, store: str) -> None:
    plan = planned(new_loop(), state(energy_kwh={"bess-1": soc * SITE.batteries[0].energy_kwh, "ups-1": 390.0}))
    energy, battery = np.array(plan.energy_kwh["bess-1"]), SITE.batteries[0]
    step = np.diff(energy)
    assert (step[:4] <= 1e-6).all() if store == "above" else (step >= -1e-6).all()
    assert energy.max() <= max(energy[0], battery.soc_max * battery.energy_kwh) + 1e-6
    assert energy.min() >= min(energy[0], battery.soc_min * battery.energy_kwh) - 1e-6


@pytest.mark.parametrize(("said_kwh", "planned_kwh"), [(-40.0, 0.0), (1e9, 1000.0)])
def test_a_gauge_beyond_what_a_store_can_hold_is_taken_at_its_end(said_kwh: float, planned_kwh: float) -> None:
    assert planned(new_loop(), state(energy_kwh={"bess-1": said_kwh, "ups-1": 390.0})).energy_kwh["bess-1"][0] == planned_kwh


def test_a_deadline_already_missed_is_least_lateness_and_no_failure() -> None:
    late = {c.id: {"batch": ClassState(100.0, 400.0, (400.0,) * len(DUE_HOURS))} for c in SITE.clusters}
    plan = planned(new_loop(), state(clusters=late))
    assert plan.cost["workload"] > 100.0  # what is lost is counted


def test_an_order_below_the_must_run_load_is_the_least_violation_and_said_so() -> None:
    loop = new_loop()
    loop.add_events([Obligation("cut", ObligationKind.IMPORT_LIMIT, 100.0, MONDAY, MONDAY + 2 * HOUR, MONDAY - HOUR)])
    plan = planned(loop, state())
    assert any("the import limit cannot be met" in line for line in plan.lines)
    inside = np.array([MONDAY + 5 * QUARTER <= s < MONDAY + 2 * HOUR for s in plan.starts])
    without = planned(new_loop(), state())
    assert max(np.array(plan.import_kw)[inside]) < min(np.array(without.import_kw)[inside]) - 100.0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (("assets", "bess-1", "power_kw"), 0),
        (("assets", "bess-1", "energy_kwh"), 0),
        (("assets", "ups-1", "rating_kw"), 0),
        (("assets", "hall-a", "peak_kw"), 0),
        (("point_of_connection", "import_limit_kw"), 0),
        (("plan", "horizon_h"), 0),
        (("assets", "bess-1", "charge_efficiency"), 0),
    ],
)
def test_a_zero_rating_is_a_named_error_at_load(key: tuple[str, ...], value: float) -> None:
    change: Any = value
    for part in reversed(key):
        change = {part: change}
    with pytest.raises(EmsError, match=f"{'.'.join(key)} = {value}: expected a number >"):
        load_site(DEMO, change)


def test_the_snapshot_of_a_real_cycle_is_understood() -> None:
    """Classes that cannot wait have no due work; whoever reads strictly must read what control writes."""
    loop = Loop(SITE)
    loop.cycle({"hall-a": even(500.0), "hall-b": even(200.0)})
    body = encode_snapshot(loop.controller, loop.decisions[-1], loop.images[-1], {})["plan_state"]
    decoded = PlanState.decode(json.loads(json.dumps(body)))
    assert decoded.encode() == body and decoded.clusters["hall-a"]["interactive"].due_kwh == ()
    planned(new_loop(), decoded, loop.now)


# -- anything ------------------------------------------------------------------------------------------------------------------------

number = st.floats(-2000.0, 4000.0) | st.sampled_from([0.0, -0.0, 1e-300, 1e9, -1e9, math.nan, math.inf, -math.inf])
maybe = st.none() | number
instant = st.floats(-30.0, 30.0).map(lambda hours: MONDAY + timedelta(hours=hours))
price_row = st.builds(PriceRow, instant, instant, instant, number, st.sampled_from(["real_time", "day_ahead", ""]))
event = st.builds(
    Obligation, st.text(max_size=3), st.sampled_from(list(ObligationKind)), number, instant, instant, instant, baseline_kw=maybe
)
class_state = st.builds(ClassState, number, number, st.lists(number, min_size=len(DUE_HOURS), max_size=len(DUE_HOURS)).map(tuple))
clusters = st.just({c.id: backlog(20.0, 5.0) for c in SITE.clusters}) | st.dictionaries(
    st.sampled_from(["hall-a", "hall-b", "hall-z"]), st.dictionaries(st.sampled_from(["batch", "training", "other"]), class_state)
)
CHANGES = {
    "at": instant,
    "energy_kwh": st.dictionaries(st.sampled_from(["bess-1", "ups-1", "bess-9"]), number),
    "clusters": clusters,
    "critical_kw": number,
    "peak_so_far_kw": number,
    "interval_start": st.none() | instant,
    "interval_kwh": number,
    "cooling_kw": number,
    "import_limit_kw": number,
    "poc_kw": number,
    "outdoor_temp_c": maybe,
}
changes = st.fixed_dictionaries({}, optional=CHANGES)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(price_row, max_size=6),
    st.lists(event, max_size=3),
    changes,
    st.lists(st.dictionaries(st.sampled_from(["hall-a", "hall-b"]), maybe), max_size=3),
)
def test_no_rows_and_no_state_bring_down_the_loop_or_an_unverified_plan(
    prices: list[PriceRow], events: list[Obligation], change: dict[str, Any], demand: list[dict[str, float | None]]
) -> None:
    loop = new_loop()
    for take, what in ((loop.add_prices, prices), (loop.add_events, events)):
        try:
            take(what)  # type: ignore[operator]
        except HOSTILE:
            pass  # the planner process drops the message and says so
    for k, kw in enumerate(demand):
        loop.observe(MinuteFrame(MONDAY - timedelta(minutes=9 - k), kw.get("hall-a"), {}, kw, {}, {}, kw.get("hall-b")))
    try:
        planned(loop, replace(state(), **change))
    except PlanInfeasible as reason:
        assert str(reason)
    planned(new_loop(), state())  # and the next one is made as ever


json_value = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.text(max_size=3)
    | st.lists(st.integers(), max_size=2)
    | st.floats(-1e5, 1e5)
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(sorted(state().encode())), json_value)
def test_no_snapshot_of_a_broken_control_brings_down_the_planner_process(key: str, value: object) -> None:
    body = {**state().encode(), key: value}
    try:
        decoded = PlanState.decode(body)
    except HOSTILE:
        return  # PlannerProcess._state: not understood, logged
    try:
        planned(new_loop(), decoded)
    except EmsError as reason:
        assert str(reason)
