"""The battery and the UPS: energy, ramps, windows, leases."""

from dataclasses import replace
from random import Random

import pytest

from simulators.devices.battery import BatteryDevice
from simulators.devices.ups import UpsDevice
from simulators.errors import Refused
from tests.simulators.sites import battery, ups

NO_NOISE = Random(0)


def run(device: BatteryDevice, seconds: float, at_s: float = 0.0, dt_s: float = 1.0) -> float:
    """Steps a battery and returns the AC energy it took, kWh."""
    taken = 0.0
    for i in range(int(seconds / dt_s)):
        device.step(dt_s, at_s + i * dt_s)
        device.keep_alive(at_s + i * dt_s)
        taken += device.power_kw * dt_s / 3600.0
    return taken


def test_charging_stores_the_ac_energy_times_the_charge_efficiency() -> None:
    device = BatteryDevice(battery(0.5), NO_NOISE)
    device.write("power_setpoint_kw", 300.0, 0.0)
    taken = run(device, 1800)
    assert device.energy_kwh == pytest.approx(500.0 + 0.94 * taken)
    assert taken == pytest.approx(150.0, rel=0.01)


def test_discharging_draws_more_from_the_store_than_it_delivers() -> None:
    device = BatteryDevice(battery(0.5), NO_NOISE)
    device.write("power_setpoint_kw", -300.0, 0.0)
    taken = run(device, 1800)
    assert taken < 0
    assert device.energy_kwh == pytest.approx(500.0 + taken / 0.94)


def test_a_setpoint_is_reached_by_ramp_after_a_dead_time() -> None:
    device = BatteryDevice(battery(0.5), NO_NOISE)
    device.write("power_setpoint_kw", 500.0, 0.0)
    device.step(1.0, 0.0)
    assert device.power_now_kw == pytest.approx(250.0 * 0.9)
    assert device.power_kw == pytest.approx(250.0 * 0.9 * 0.9 / 2)
    device.step(1.0, 1.0)
    device.step(1.0, 2.0)
    assert device.power_now_kw == 500.0


def test_step_length_does_not_change_the_energy_of_a_ramp() -> None:
    fine, coarse = BatteryDevice(battery(), NO_NOISE), BatteryDevice(battery(), NO_NOISE)
    for device in (fine, coarse):
        device.write("power_setpoint_kw", -400.0, 0.0)
    for i in range(50):
        fine.step(0.1, i * 0.1)
    coarse.step(5.0, 0.0)
    assert coarse.energy_kwh == pytest.approx(fine.energy_kwh, abs=1e-9)


def test_the_store_ends_at_full_and_at_empty_and_counts_what_left_the_window() -> None:
    device = BatteryDevice(battery(0.94), NO_NOISE)
    device.write("power_setpoint_kw", 500.0, 0.0)
    breach = 0.0
    for i in range(1800):
        device.step(1.0, i)
        device.keep_alive(i)
        breach += device.soc_breach_kwh
    assert device.soc == pytest.approx(1.0)
    assert device.power_kw == pytest.approx(0.0, abs=1e-6)
    assert breach == pytest.approx(50.0)  # from 95 % to 100 % of 1,000 kWh


def test_a_battery_outside_its_window_refuses_to_go_further_out() -> None:
    full, empty = BatteryDevice(battery(0.97), NO_NOISE), BatteryDevice(battery(0.05), NO_NOISE)
    with pytest.raises(Refused, match="window"):
        full.write("power_setpoint_kw", 10.0, 0.0)
    with pytest.raises(Refused, match="window"):
        empty.write("power_setpoint_kw", -10.0, 0.0)
    full.write("power_setpoint_kw", -10.0, 0.0)
    assert full.read()["max_charge_kw"] == 0.0
    assert empty.read()["max_discharge_kw"] == 0.0


@pytest.mark.parametrize("value", [501.0, -501.0, float("nan"), float("inf")])
def test_a_battery_refuses_a_setpoint_outside_its_rating(value: float) -> None:
    device = BatteryDevice(battery(), NO_NOISE)
    with pytest.raises(Refused):
        device.write("power_setpoint_kw", value, 0.0)
    assert device.commands() == {"power_setpoint_kw": 0.0}


def test_a_battery_lets_its_setpoint_lapse_to_zero_by_ramp() -> None:
    device = BatteryDevice(battery(), NO_NOISE)
    device.write("power_setpoint_kw", -500.0, 0.0)
    for i in range(90):
        device.step(1.0, i)
    assert device.power_now_kw == -500.0
    device.step(1.0, 90.0)
    assert -500.0 < device.power_now_kw < 0.0
    device.step(5.0, 91.0)
    assert device.power_now_kw == 0.0
    assert device.commands() == {"power_setpoint_kw": 0.0}


def test_commands_alone_do_not_keep_a_lease() -> None:
    device = BatteryDevice(battery(), NO_NOISE)
    for i in range(90):
        device.write("power_setpoint_kw", 100.0 + i, float(i), keeps_lease=False)
        device.step(1.0, i)
    device.step(1.0, 90.0)
    assert device.commands() == {"power_setpoint_kw": 0.0}


def test_a_heartbeat_keeps_a_lease_and_does_not_revive_one() -> None:
    device = BatteryDevice(battery(), NO_NOISE)
    device.write("power_setpoint_kw", 100.0, 0.0)
    device.keep_alive(80.0)
    device.step(1.0, 100.0)
    assert device.commands() == {"power_setpoint_kw": 100.0}
    device.step(1.0, 171.0)
    device.keep_alive(172.0)
    device.step(1.0, 172.0)
    assert device.commands() == {"power_setpoint_kw": 0.0}
    assert device.lease_remaining_s(172.0) == 0.0


def test_a_ups_loses_a_fraction_of_the_load_it_carries() -> None:
    device = UpsDevice(ups(), NO_NOISE)
    device.step(1.0, 0.0, 1000.0)
    assert device.power_kw == pytest.approx(40.0)
    assert device.read()["battery_kw"] == 0.0


def test_a_ups_discharges_at_most_the_load_it_carries() -> None:
    device = UpsDevice(ups(), NO_NOISE)
    device.write("battery_setpoint_kw", -900.0, 0.0)
    for i in range(5):
        device.step(1.0, i, 600.0)
    assert device.battery_kw == -600.0
    device.step(1.0, 5.0, 200.0)
    assert device.battery_kw == -200.0


def test_the_reserve_is_short_exactly_when_the_store_cannot_carry_the_load_for_the_promised_minutes() -> None:
    needed_soc = 960.0 / 6.0 / 0.96 / 400.0  # ten minutes of 960 kW
    enough, short = UpsDevice(ups(needed_soc + 1e-6), NO_NOISE), UpsDevice(ups(needed_soc - 0.01), NO_NOISE)
    for device in (enough, short):
        device.step(1.0, 0.0, 960.0)
    assert enough.reserve_shortfall_kwh == 0.0
    assert short.reserve_shortfall_kwh == pytest.approx(4.0)


def test_a_monitored_ups_refuses_every_command() -> None:
    device = UpsDevice(replace(ups(), is_grid_interactive=False), NO_NOISE)
    with pytest.raises(Refused, match="monitored"):
        device.write("battery_setpoint_kw", 0.0, 0.0)


def test_a_ups_lets_its_setpoint_lapse_to_zero() -> None:
    device = UpsDevice(ups(0.5), NO_NOISE)
    device.write("battery_setpoint_kw", 100.0, 0.0)
    device.step(1.0, 0.0, 600.0)
    device.step(1.0, 90.0, 600.0)
    device.step(1.0, 91.0, 600.0)
    assert device.power_now_kw == pytest.approx(24.0)
