"""Generators: blocks by hand (set the variables, the rules hold; move one, the named rule fails), envelopes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems.assets.generator.block import BaseloadBlock, EmergencyBlock, UnitBlock, availability, generator_block
from ems.assets.generator.envelope import generator_envelope
from ems.assets.generator.model import Duty, Generator, GeneratorRun, GeneratorState
from ems.errors import ConfigError
from tests.assets.generator_site import DIESEL, GAS, SMR, a_generator, off, on, site_with

HOURS = np.array([0.25, 0.25, 0.5, 1.0])
STARTS_S = 1.724e9 + 3600.0 * (np.cumsum(HOURS) - HOURS)
SITE = site_with(gas_1=GAS, diesel_1=DIESEL, smr_1=SMR)
GAS_1, DIESEL_1, SMR_1 = (a_generator(SITE, name) for name in ("gas-1", "diesel-1", "smr-1"))
ZEROS = np.zeros(4)


def hours() -> cp.Parameter:
    parameter = cp.Parameter(4, nonneg=True)
    parameter.value = HOURS
    return parameter


def window(step: int, lag_h: float) -> int:
    begin = np.cumsum(HOURS) - HOURS
    return int(np.argmax(begin > begin[step] - lag_h - 1e-9))


def broken(constraints: Mapping[str, cp.Constraint]) -> list[str]:
    return [name for name, c in constraints.items() if np.max(c.violation(), initial=0.0) > 1e-9]


def unit(generator: Generator = GAS_1) -> UnitBlock:
    """The gas engine off for long, started in the second step, run to the end: 180 s of 900 s are lost to the start, one start in a
    hundred fails."""
    block = UnitBlock(generator, hours(), window)
    block.update(off(), STARTS_S, HOURS, HOURS)
    block.on.value, block.start.value, block.stop.value = np.array([0.0, 1, 1, 1]), np.array([0.0, 1, 0, 0]), ZEROS
    block.generation_kw.value = np.array([0.0, 400 * 0.8 * 0.99, 400, 400])
    block.fuel_per_h.value = np.array([0.0, generator.burns_per_h(400 * 0.8 * 0.99), *([generator.burns_per_h(400)] * 2)])
    block.under_kw.value = ZEROS
    return block


def test_a_gas_engine_that_starts_and_runs_on_holds_every_rule_and_costs_its_fuel() -> None:
    block = unit()
    assert broken(block.constraints) == []
    burnt = HOURS @ block.fuel_per_h.value
    assert block.cost.value == pytest.approx(0.02 * burnt + 0.01)  # a cent against restless starts
    assert GAS_1.burns_per_h(400) == pytest.approx(400 / 0.46)


@pytest.mark.parametrize(
    ("rule", "variable", "values"),
    [
        ("a start or a stop is a change of on", "start", [0.0, 0, 0, 0]),
        ("at most its rating, less the start", "generation_kw", [0.0, 400 * 0.8, 400, 400]),
        ("at most its rating, less the start", "generation_kw", [0.0, 300, 401, 400]),
        ("at least its minimum load once started", "generation_kw", [0.0, 300, 79, 400]),
        ("burns what line 1 of its fuel curve says", "fuel_per_h", [0.0, 800, 868, 868]),
        ("stays on for the minimum up time", "start", [0.0, 1, 1, 2]),
        ("stays off for the minimum down time", "stop", [0.0, 1, 0, 0]),
    ],
)
def test_a_gas_engine_that_bends_a_rule_breaks_it(rule: str, variable: str, values: list[float]) -> None:
    block = unit()
    getattr(block, variable).value = np.array(values)
    assert rule in broken(block.constraints)


def test_a_machine_just_started_must_stay_on_and_one_just_stopped_off() -> None:
    block = unit()
    block.update(on(400.0, since_h=0.1), STARTS_S, HOURS, HOURS)
    assert block.must_on.value.tolist() == [1, 1, 0, 0]  # half an hour in all
    block.update(off(since_h=0.1), STARTS_S, HOURS, HOURS)
    assert block.may_on.value.tolist() == [0, 0, 1, 1]
    block.update(off(blocked_h=0.6), STARTS_S, HOURS, HOURS)
    assert block.may_on.value.tolist() == [0, 0, 0, 1]  # a repair of 36 min
    assert broken(block.constraints) == ["runs only when it may"]


def test_a_permit_and_an_emissions_budget_bound_the_hours_and_the_fuel() -> None:
    block = unit(replace(GAS_1, permit_h_per_year=100.0, emission_kg_per_fuel=0.001, emission_kg_per_year=50.0))
    block.update(off(permit_left_h=1.75, emission_left_kg=1.6), STARTS_S, HOURS, HOURS)
    assert broken(block.constraints) == []  # 1.75 h and about 1.5 kg
    block.update(off(permit_left_h=1.7, emission_left_kg=1.4), STARTS_S, HOURS, HOURS)
    assert broken(block.constraints) == ["runs within its permit hours", "emits within its budget"]


def test_a_slow_machine_is_bound_by_its_ramp_but_may_begin_at_its_minimum_load() -> None:
    slow = replace(GAS_1, ramp_kw_per_s=0.05, start_s=0.0, start_failure=0.0)
    block = unit(slow)
    block.generation_kw.value = np.array([0.0, 80.0 + 45.0, 125 + 67.5, 192.5 + 135.0])  # 0.05 kW/s between the middles of the steps
    block.fuel_per_h.value = np.full(4, 1e3)
    assert broken(block.constraints) == []
    block.generation_kw.value = np.array([0.0, 80.0 + 45.0, 125 + 67.5, 192.5 + 136.0])
    assert broken(block.constraints) == ["rises within its ramp"]


def test_a_curve_with_a_bend_burns_along_its_lines() -> None:
    bent = replace(GAS_1, fuel_at_kw=(0.0, 200.0, 400.0), fuel_per_h=(50.0, 400.0, 900.0))
    assert bent.burns_per_h(100) == pytest.approx(225.0) and bent.burns_per_h(300) == pytest.approx(650.0)
    block = unit(bent)
    block.fuel_per_h.value = np.array([0.0, 899.0, 899.0, 900.0])
    assert broken(block.constraints) == ["burns what line 2 of its fuel curve says"]


def baseload(generator: Generator = SMR_1) -> BaseloadBlock:
    block = BaseloadBlock(generator, hours())
    block.update(on(300.0), STARTS_S, HOURS, HOURS)
    block.generation_kw.value, block.under_kw.value = np.full(4, 300.0), ZEROS
    block.fuel_per_h.value = np.full(4, generator.burns_per_h(300.0))
    return block


def test_a_reactor_runs_between_its_minimum_and_its_rating_and_moves_slowly() -> None:
    block = baseload()
    assert broken(block.constraints) == []
    block.generation_kw.value = np.array([300.0, 300, 301, 300])
    assert "at most what it can give" in broken(block.constraints)
    block.generation_kw.value = np.array([280.0, 240, 180, 140])
    assert broken(block.constraints) == ["must run"]
    block.generation_kw.value = np.array([300.0, 250, 200, 200])  # 3 kW/min: 45 kW between two quarters of an hour
    assert broken(block.constraints) == ["falls within its ramp"]


def test_a_reactor_gives_nothing_in_its_outage_and_comes_back_at_its_minimum_load() -> None:
    out = replace(SMR_1, start_s=0.0, outage_start_s=(STARTS_S[1],), outage_end_s=(STARTS_S[2],))
    block = baseload(out)
    assert block.most_kw.value.tolist() == [300, 0, 300, 300]
    assert block.least_kw.value.tolist() == [150, 0, 150, 150]
    block.generation_kw.value = np.array([300.0, 0, 150, 285])
    block.fuel_per_h.value = np.full(4, 1e4)
    assert broken(block.constraints) == []
    block.generation_kw.value = np.array([300.0, 1, 150, 285])
    assert broken(block.constraints) == ["at most what it can give"]


RESTART = replace(SMR_1, start_s=900.0)
OUTAGE = replace(RESTART, outage_start_s=(STARTS_S[0] - 900.0,), outage_end_s=(STARTS_S[1],))


@pytest.mark.parametrize(
    ("machine", "run", "most"),
    [
        (RESTART, on(0.0, start_left_h=0.25), [0, 300, 300, 300]),  # it starts
        (RESTART, off(blocked_h=0.25, start_left_h=0.25), [0, 0, 300, 300]),  # a repair, then its start
        (OUTAGE, off(start_left_h=0.25), [0, 0, 300, 300]),  # an outage, then its start
        (replace(OUTAGE, outage_end_s=(STARTS_S[0],)), on(300.0), [300, 300, 300, 300]),  # over, and loaded sooner
        (replace(OUTAGE, duty=Duty.PERMITTED), off(start_left_h=0.25), [0, 300, 300, 300]),  # the plan starts it itself
    ],
)
def test_a_baseload_machine_is_counted_on_only_after_its_start(machine: Generator, run: GeneratorRun, most: list[float]) -> None:
    assert (machine.power_kw * availability(machine, run, STARTS_S, HOURS)).tolist() == most


STARTING_UP = on(0.0, since_h=0.1, start_left_h=0.3)


@pytest.mark.parametrize(
    "run", [on(300.0), on(40.0, since_h=0.1), STARTING_UP, off(blocked_h=0.3), off(), on(300.0, available=0.4), off(available=0.0)]
)
@pytest.mark.parametrize("technology", ["gas", "fuel cell", "smr", "diesel"])
def test_whatever_is_measured_a_machine_can_be_planned_for(technology: str, run: object) -> None:
    machine = {"gas": GAS_1, "smr": SMR_1, "diesel": DIESEL_1, "fuel cell": replace(GAS_1, ramp_kw_per_s=0.02, start_s=1200.0)}[technology]
    for outage in ((), (STARTS_S[0],), (STARTS_S[1] + 60.0,)):
        away = replace(machine, outage_start_s=outage, outage_end_s=tuple(s + 900.0 for s in outage))
        block = generator_block(away, hours(), window)
        block.update(run, STARTS_S, HOURS, HOURS)  # type: ignore[arg-type]
        problem = cp.Problem(cp.Minimize(block.cost), list(block.constraints.values()))
        problem.solve(solver=cp.HIGHS)
        assert problem.status == cp.OPTIMAL
        if not isinstance(block, EmergencyBlock):
            assert block.under_kw.value.max() <= 1e-6


def test_an_emergency_block_has_no_decision_at_all() -> None:
    block = generator_block(DIESEL_1, hours(), window)
    block.update(off(), STARTS_S, HOURS, HOURS, np.array([0.0, 500, 5000, 0]))
    assert block.generation_kw.value.tolist() == [0, 500, 800, 0]
    assert cp.Problem(cp.Minimize(block.cost)).variables() == [] and not block.constraints
    block.update(off(available=0.0), STARTS_S, HOURS, HOURS, np.full(4, 500.0))
    assert not block.generation_kw.value.any()


LOADED = GeneratorState(-300.0, "loaded", 400.0, is_fresh=True)
STANDING = GeneratorState(0.0, "off", 400.0, is_fresh=True)


@pytest.mark.parametrize(
    ("machine", "state", "run", "low", "high", "rule"),
    [
        (GAS_1, STANDING, off(), -400, 0, "may stop"),
        (GAS_1, STANDING, off(since_h=0.2), 0, 0, "minimum down time"),
        (GAS_1, LOADED, on(300.0, since_h=0.2), -400, -80, "minimum up time"),
        (GAS_1, LOADED, on(300.0), -400, 0, "may stop"),
        (GAS_1, LOADED, on(300.0, permit_left_h=0.0), 0, 0, "permit hours used up"),
        (GAS_1, LOADED, on(300.0, emission_left_kg=0.0), 0, 0, "emissions budget used up"),
        (GAS_1, replace(LOADED, available_kw=200.0), on(300.0), -200, 0, "may stop"),
        (GAS_1, replace(LOADED, mode="fault"), off(), 0, 0, "fault"),
        (GAS_1, replace(LOADED, is_local=True), on(300.0), -300, -300, "device in LOCAL"),
        (DIESEL_1, replace(LOADED, carries_load=True), on(300.0), -300, -300, "its transfer control carries load"),
        (DIESEL_1, replace(STANDING, available_kw=800.0), off(), 0, 0, "emergency class: never for money"),
        (DIESEL_1, replace(STANDING, available_kw=800.0), off(ordered_because="order x"), -800, 0, "order x"),
        (SMR_1, replace(LOADED, available_kw=300.0), on(300.0), -300, -150, "must run"),
    ],
)
def test_the_envelope_of_a_machine_and_the_rule_that_bounds_it(
    machine: Generator, state: GeneratorState, run: object, low: float, high: float, rule: str
) -> None:
    envelope = generator_envelope(machine, state, run, 1.724e9)  # type: ignore[arg-type]
    assert (envelope.low_kw, envelope.high_kw, envelope.high_rule) == (low, high, rule)


def test_a_machine_in_an_announced_outage_may_give_nothing() -> None:
    away = replace(SMR_1, outage_start_s=(1.0e9,), outage_end_s=(1.1e9,))
    assert generator_envelope(away, LOADED, on(300.0), 1.05e9).low_rule == "outage"


@given(
    kw=st.floats(-900, 50),
    available=st.floats(0, 900),
    since=st.floats(0, 10),
    left=st.floats(0, 100),
    mode=st.sampled_from(["off", "starting", "loaded", "cooling_down", "fault"]),
    flags=st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_an_emergency_machine_without_an_order_never_has_room_to_be_started(
    kw: float, available: float, since: float, left: float, mode: str, flags: tuple[bool, bool, bool]
) -> None:
    state = GeneratorState(kw, mode, available, *flags)
    envelope = generator_envelope(DIESEL_1, state, off(since_h=since, permit_left_h=left), 1.724e9)
    assert envelope.low_kw >= min(0.0, kw)  # at most what somebody else makes it give already
    if flags == (True, False, False):
        assert (envelope.low_kw, envelope.high_kw) == (0.0, 0.0)


CO = {"name": "co", "kg_per_fuel": 0.004, "kg_per_year": 12.0, "used_kg": 2.0}
NOX_AND_CO = {**GAS, "emission_kg_per_fuel": 0.001, "emission_kg_per_year": 50.0, "other_emissions": [CO]}


@pytest.mark.parametrize(
    ("machine", "key", "expected"),
    [
        ({**GAS, "min_power_kw": 500}, "min_power_kw", "at most power_kw (400)"),
        ({**GAS, "fuel_at_kw": [0, 200, 400], "fuel_per_h": [50, 500, 800]}, "fuel_per_h", "never flattens"),
        ({**GAS, "fuel_at_kw": [0, 400], "fuel_per_h": [50]}, "fuel_per_h", "as many values as fuel_at_kw (2)"),
        ({**GAS, "fuel_at_kw": [400, 0], "fuel_per_h": [50, 90]}, "fuel_per_h", "fuel_at_kw that rises"),
        ({**GAS, "emission_kg_per_year": 10}, "emission_kg_per_year", "emission_kg_per_fuel"),
        ({**GAS, "other_emissions": [CO]}, "other_emissions", "emission_kg_per_year"),
        ({**NOX_AND_CO, "other_emissions": [CO, CO]}, "other_emissions", "a name once"),
        ({**GAS, "ordered_by": ["x"]}, "ordered_by", "only an emergency machine"),
        ({**GAS, "power_kw": 0}, "power_kw", "power"),
        ({**GAS, "duty": "economic"}, "duty", "emergency"),
        ({**GAS, "outages": [{"start": "2024-01-02T00:00:00Z", "end": "2024-01-01T00:00:00Z"}]}, "end", "after start"),
        ({**GAS, "start_failure": 1.0}, "start_failure", "1"),
    ],
)
def test_a_wrong_entry_is_named_with_its_key(machine: dict[str, object], key: str, expected: str) -> None:
    with pytest.raises(ConfigError) as error:
        site_with(gas_1=machine)
    assert any(key in str(c) and expected in str(c) for c in error.value.complaints)
