"""Blocks by hand: set the variables, the constraints hold; move one, the named constraint fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest

from ems.assets.battery.block import BatteryBlock
from ems.assets.cooling.block import CoolingBlock, fading_share
from ems.assets.fixed_load.block import FixedLoadBlock
from ems.assets.grid_connection.block import GridConnectionBlock
from ems.assets.ups.block import UpsBlock
from ems.assets.workload.block import ClusterBlock, not_due_kwh, planned_deadline_h
from ems.assets.workload.model import ClassState
from tests.plan.given import demo_site

HOURS = np.array([0.25, 0.25, 0.5, 1.0])
ONES, ZEROS = np.ones(4), np.zeros(4)


def hours() -> cp.Parameter:
    parameter = cp.Parameter(4, nonneg=True)
    parameter.value = HOURS
    return parameter


def broken(constraints: Mapping[str, cp.Constraint]) -> list[str]:
    return [name for name, c in constraints.items() if np.max(c.violation(), initial=0.0) > 1e-9]


def test_a_battery_that_charges_an_hour_holds_its_rules_and_breaks_the_one_that_is_bent() -> None:
    battery = demo_site().batteries[0]
    block = BatteryBlock(battery, hours())
    block.update(500.0, HOURS, ONES, 0.05, ZEROS)
    block.charge_kw.value, block.discharge_kw.value = np.array([100.0, 0, 0, 0]), np.array([0, 0, 0, 94.0])
    block.energy_kwh.value = np.array([500.0, 523.5, 523.5, 523.5, 423.5])
    assert broken(block.constraints) == []
    assert block.cost.value == pytest.approx(0.0201 * (25 + 94) - 0.05 * 423.5)
    block.energy_kwh.value = np.array([500.0, 525.0, 525.0, 525.0, 425.0])
    assert broken(block.constraints) == ["energy balance"]
    block.charge_kw.value = np.array([600.0, 0, 0, 0])
    assert "charges within its rating" in broken(block.constraints)
    block.energy_kwh.value = np.array([400.0, 30.0, 960.0, 500.0, 500.0])
    assert {"starts at the measured energy", "stays above the floor", "stays below the ceiling"} <= set(broken(block.constraints))


def test_a_battery_found_below_its_window_may_stay_there() -> None:
    block = BatteryBlock(demo_site().batteries[0], hours())
    block.update(20.0, HOURS, ONES, 0.0, ZEROS)
    block.charge_kw.value = block.discharge_kw.value = ZEROS
    block.energy_kwh.value = np.full(5, 20.0)
    assert broken(block.constraints) == []


def test_a_ups_keeps_its_reserve_and_relieves_at_most_what_it_carries() -> None:
    ups = demo_site().upses[0]
    block = UpsBlock(ups, hours(), cp.Constant(np.full(4, 200.0)))
    block.update(380.0, 300.0, HOURS, ONES, 0.0, ZEROS)
    block.charge_kw.value, block.discharge_kw.value = ZEROS, np.array([194.0, 0, 0, 0])
    block.energy_kwh.value = np.array([380.0, 330.0, 330.0, 330.0, 330.0])
    assert broken(block.constraints) == []
    assert block.power_kw.value[0] == pytest.approx(0.04 * 200 - 194)
    block.discharge_kw.value = np.array([291.0, 0, 0, 0])
    block.energy_kwh.value = np.array([380.0, 305.0, 305.0, 305.0, 305.0])
    assert broken(block.constraints) == ["relieves at most what it carries"]
    block.energy_kwh.value = np.array([380.0, 299.0, 299.0, 299.0, 299.0])
    assert "keeps the reserve" in broken(block.constraints)


def test_a_reserve_out_of_reach_is_clamped_to_what_charging_can_reach() -> None:
    ups = demo_site().upses[0]
    block = UpsBlock(ups, hours(), cp.Constant(np.full(4, 200.0)))
    block.update(200.0, 300.0, HOURS, ONES, 0.0, ZEROS)
    block.charge_kw.value, block.discharge_kw.value = np.array([100.0, 100.0, 100.0, 10.0]), ZEROS
    block.energy_kwh.value = 200 + np.r_[0, np.cumsum(HOURS * block.charge_kw.value) * 0.97]
    assert broken(block.constraints) == []
    assert block.reserve_kwh.value == pytest.approx([200.0, 224.25, 248.5, 297.0, 300.0])


@pytest.mark.parametrize("change", [{"is_grid_interactive": False}, {"is_lead_acid": True}])
def test_a_monitored_or_lead_acid_ups_is_never_moved(change: dict[str, bool]) -> None:
    from dataclasses import replace

    block = UpsBlock(replace(demo_site().upses[0], **change), hours(), cp.Constant(np.full(4, 200.0)))
    block.update(380.0, 300.0, HOURS, ONES, 0.0, ZEROS)
    assert not block.max_charge_kw.value.any() and not block.max_discharge_kw.value.any()


def cluster_block() -> ClusterBlock:
    """Deadlines shortened: whatever is deferred must be back by the next boundary but one."""
    cluster = demo_site().clusters[0]
    block = ClusterBlock(cluster, hours(), (1, 2, 3, 4), *(lambda boundary, lag_h: max(0, boundary - 1),) * 2)
    state = ClassState(0.0, 20.0, (10.0, 20.0, 20.0, 20.0, 20.0, 20.0))
    block.update(np.full(4, 470.0), {"batch": state}, np.r_[0, np.cumsum(HOURS)], 0.05, ZEROS, np.inf)
    for name, waiting in block.deferrable.items():
        for variable in (waiting.defer_kw, waiting.recover_kw, waiting.drop_kwh, waiting.deferred_kwh):
            variable.value = np.zeros(variable.size)
        waiting.backlog_kwh.value = np.full(5, 20.0) if name == "batch" else np.zeros(5)
    block.throttle_kw["interactive"].value = ZEROS
    block.power_kw.value = np.full(4, 470.0)
    return block


def test_work_left_waiting_beyond_its_deadline_breaks_the_deadline_alone() -> None:
    assert broken(cluster_block().constraints) == ["batch: recovered by the deadline"]


def test_recovering_what_is_due_in_time_holds_every_rule() -> None:
    block = cluster_block()
    batch = block.deferrable["batch"]
    batch.recover_kw.value = np.array([80.0, 0, 0, 0])
    batch.backlog_kwh.value = np.array([20.0, 0, 0, 0, 0])
    block.power_kw.value = np.array([550.0, 470, 470, 470])
    assert broken(block.constraints) == []
    block.power_kw.value = np.array([540.0, 470, 470, 470])
    assert broken(block.constraints) == ["serves what is not held back"]


def test_dropping_what_is_due_holds_every_rule_and_costs_its_price() -> None:
    block = cluster_block()
    batch = block.deferrable["batch"]
    batch.drop_kwh.value = np.array([20.0, 0, 0, 0])
    batch.backlog_kwh.value = np.array([20.0, 0, 0, 0, 0])
    assert broken(block.constraints) == []
    assert block.cost.value == pytest.approx(20.0 * 1.0)


def test_a_class_never_defers_or_throttles_more_than_arrives() -> None:
    block = cluster_block()
    block.throttle_kw["interactive"].value = np.array([81.0, 0, 0, 0])
    block.deferrable["training"].defer_kw.value = np.array([41.0, 0, 0, 0])
    names = broken(block.constraints)
    assert "interactive: throttles at most what arrives" in names  # 0.4 of 200 kW above idle
    assert "training: defers at most what arrives" in names  # 0.2 of 200 kW


def test_measured_backlog_falls_due_between_its_reported_hours() -> None:
    left = not_due_kwh(30.0, (10.0, 20.0, 20.0, 30.0, 30.0, 30.0), np.array([0.5, 1.5, 7.9, 30.0]))
    assert left == pytest.approx([25.0, 15.0, 0.25, 0.0], abs=0.01)


def test_deferred_work_is_planned_back_two_hours_early_or_a_quarter_of_a_short_deadline() -> None:
    batch = demo_site().clusters[0].classes["batch"]
    assert [planned_deadline_h(replace(batch, deadline_h=h)) for h in (24.0, 8.0, 2.0)] == [22.0, 6.0, 1.5]


def test_cooling_follows_it_power_and_the_weather_and_fades_from_where_it_was() -> None:
    cooling = demo_site().coolings[0]
    block = CoolingBlock(cooling, cp.Constant(np.full(4, 1000.0)))
    block.update(np.array([5.0, 10.0, 25.0, 45.0]), 1000.0, 220.0, HOURS)
    steady = np.array([120.0, 120.0, 185.0, 250.0])
    assert block.power_kw.value == pytest.approx(steady + 100.0 * fading_share(300.0, HOURS))
    assert fading_share(300.0, np.array([0.25]))[0] == pytest.approx((1 - np.exp(-3)) / 3)


def test_a_fixed_load_draws_its_nameplate_in_every_step() -> None:
    assert FixedLoadBlock(demo_site().fixed_loads[0], 4).power_kw.value == pytest.approx([30.0] * 4)


def test_import_above_the_limit_counts_as_a_breach_and_costs_height_and_area() -> None:
    block = GridConnectionBlock(hours())
    block.update(np.full(4, 1000.0), 0.0)
    block.power_kw.value, block.over_kw.value, block.highest_over_kw.value = np.array([900.0, 1010, 900, 900]), ZEROS, 0.0
    assert broken(block.constraints) == ["stays within the import limit"]
    block.over_kw.value, block.highest_over_kw.value = np.array([0, 10.0, 0, 0]), 10.0
    assert broken(block.constraints) == []
    assert block.cost.value == pytest.approx(20 * 2.5 + 5 * 10)
    block.power_kw.value = np.array([-1.0, 1000, 900, 900])
    assert broken(block.constraints) == ["stays within the export limit"]
