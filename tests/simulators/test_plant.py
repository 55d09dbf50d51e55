"""The whole site: balance, determinism, the contract cap, and what each device does when it fails."""

from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from ems.assets.workload.model import CLASSES
from ems.errors import ConfigError, DeviceSilent
from ems.site.model import Site
from simulators.devices.device import FAULTS, Device
from simulators.errors import Refused
from simulators.faults import Fault, FaultSchedule, load_faults
from simulators.plant import Demand, Plant, PlantStep
from simulators.weather import MoistAir
from tests.simulators.sites import IMPORT_LIMIT_KW, cooling, two_mw_site

START = datetime(2024, 8, 19, 5, tzinfo=UTC)
AT_S = START.timestamp()
NORMAL = {"hall-a": Demand(150.0, 150.0, 75.0, 100.0, 20.0), "hall-b": Demand(80.0, 80.0, 40.0)}
FULL = {"hall-a": Demand(400.0, 400.0, 200.0), "hall-b": Demand(300.0, 300.0, 150.0)}
IDLE = {"hall-a": Demand(0.0, 0.0, 0.0), "hall-b": Demand(0.0, 0.0, 0.0)}
COMMAND = {"bess-1": ("power_setpoint_kw", -200.0), "ups-1": ("battery_setpoint_kw", -50.0), "hall-a": ("power_cap_kw", 500.0)}


def run(plant: Plant, steps: int, demand: dict[str, Demand], dt_s: float = 1.0, temp_c: float = 25.0, first: int = 0) -> list[PlantStep]:
    return [plant.step(dt_s, START + timedelta(seconds=i * dt_s), demand, temp_c) for i in range(first, first + steps)]


def test_the_point_of_connection_is_exactly_the_sum_of_its_assets() -> None:
    plant = Plant(two_mw_site(), 1)
    plant.devices["bess-1"].write("power_setpoint_kw", -300.0, AT_S)
    plant.devices["ups-1"].write("battery_setpoint_kw", -100.0, AT_S)
    for step in run(plant, 50, NORMAL):
        assert step.poc_kw == sum(step.asset_kw.values())
        assert set(step.asset_kw) == set(plant.site.assets)
        assert step.feeder_kw["main"] == pytest.approx(step.poc_kw)
        assert step.feeder_kw["it"] == pytest.approx(step.it_kw + step.asset_kw["ups-1"])


def test_imported_energy_is_what_was_consumed_lost_and_stored() -> None:
    plant = Plant(two_mw_site(), 1)
    plant.devices["bess-1"].write("power_setpoint_kw", 200.0, AT_S)
    before = {d.id: d.energy_kwh for d in (*plant.batteries, *plant.upses)}
    steps = run(plant, 60, NORMAL)
    stored = sum(d.energy_kwh - before[d.id] for d in (*plant.batteries, *plant.upses))
    consumed = sum(s.it_kw + s.cooling_kw + s.loss_kw + 30.0 for s in steps) / 3600.0
    charged = sum(s.store_kw["bess-1"] for s in steps) / 3600.0
    assert sum(s.poc_kw for s in steps) / 3600.0 == pytest.approx(consumed + charged)
    assert stored == pytest.approx(0.94 * charged)
    assert plant.meter.import_energy_kwh == pytest.approx(consumed + charged)


def test_same_seed_same_readings_and_another_seed_other_readings() -> None:
    def readings(seed: int) -> list[dict[str, float]]:
        plant = Plant(two_mw_site(), seed)
        run(plant, 5, NORMAL)
        return [d.read() for d in plant.devices.values()]

    assert readings(3) == readings(3)
    assert readings(3) != readings(4)


def test_the_truth_does_not_depend_on_how_often_it_is_read() -> None:
    watched, alone = Plant(two_mw_site(), 3), Plant(two_mw_site(), 3)
    for i in range(20):
        for device in watched.devices.values():
            device.read()
        assert asdict(run(watched, 1, NORMAL, first=i)[0]) == asdict(run(alone, 1, NORMAL, first=i)[0])


def test_readings_lie_within_the_accuracy_of_the_instruments() -> None:
    plant = Plant(two_mw_site(), 5)
    for i in range(50):
        step = run(plant, 1, NORMAL, first=i)[0]
        assert plant.meter.read()["power_kw"] == pytest.approx(step.poc_kw, rel=0.0021)
        assert plant.devices["hall-a"].read()["power_kw"] == pytest.approx(step.asset_kw["hall-a"], rel=0.0011)


@pytest.mark.parametrize("temp_c", [5.0, 25.0, 40.0, 48.0])
def test_the_contract_cap_holds_the_import_limit_without_storage_in_the_steady_state(temp_c: float) -> None:
    steps = run(Plant(two_mw_site(), 1, starts_lapsed=True), 700, FULL, dt_s=5.0, temp_c=temp_c)
    assert max(s.poc_kw for s in steps) <= IMPORT_LIMIT_KW + 1e-6
    if temp_c >= 40.0:
        assert steps[-1].poc_kw == pytest.approx(IMPORT_LIMIT_KW)  # it wastes nothing either


def test_the_contract_cap_holds_the_import_limit_through_load_steps_and_a_warm_front() -> None:
    plant = Plant(two_mw_site(), 1, starts_lapsed=True)
    worst = 0.0
    for i in range(1500):
        demand, temp_c = (FULL, 40.0) if (i // 60) % 2 else (IDLE, 12.0 + 28.0 * (i % 7 == 0))
        worst = max(worst, run(plant, 1, demand, dt_s=5.0, temp_c=temp_c, first=i)[0].poc_kw)
    assert IMPORT_LIMIT_KW * 0.9 < worst <= IMPORT_LIMIT_KW + 1e-6


def test_without_the_contract_cap_the_same_load_crosses_the_limit() -> None:
    assert max(s.poc_kw for s in run(Plant(two_mw_site(), 1), 10, FULL, temp_c=40.0)) > IMPORT_LIMIT_KW * 1.2


def test_cooling_follows_it_heat_with_its_lag_and_not_the_step_length() -> None:
    def after_lag(dt_s: float) -> float:
        plant = Plant(two_mw_site(), 1)
        run(plant, 1, IDLE, dt_s=dt_s, temp_c=40.0)
        return run(plant, int(300 / dt_s), NORMAL, dt_s=dt_s, temp_c=40.0, first=1)[-1].asset_kw["cooling-1"]

    idle_kw, busy_kw = 0.25 * 420.0, 0.25 * 995.0
    plant = Plant(two_mw_site(), 1)
    run(plant, 1, IDLE, temp_c=40.0)
    run(plant, 300, NORMAL, temp_c=40.0, first=1)
    assert plant.coolings[0].power_now_kw == pytest.approx(busy_kw + (idle_kw - busy_kw) * 0.36788, rel=1e-4)
    assert after_lag(1.0) == pytest.approx(after_lag(5.0), rel=0.01)


@pytest.mark.parametrize(("temp_c", "fraction"), [(-5.0, 0.12), (10.0, 0.12), (25.0, 0.185), (40.0, 0.25), (45.0, 0.25)])
def test_cooling_takes_its_share_of_it_heat_at_each_temperature(temp_c: float, fraction: float) -> None:
    step = run(Plant(replaced(cooling(lag_s=0.0)), 1), 2, NORMAL, temp_c=temp_c)[-1]
    assert step.cooling_kw == pytest.approx(fraction * step.it_kw)


def replaced(asset: object) -> Site:
    site = two_mw_site()
    return replace(site, assets={**site.assets, asset.id: asset})  # type: ignore[attr-defined]


# Faults ---------------------------------------------------------------------------------------------------------------


def failing(asset: str, kind: str, for_s: float = 10.0) -> tuple[Plant, Device]:
    """A plant that has run for five seconds when the fault begins."""
    plant = Plant(two_mw_site(), 1)
    run(plant, 5, NORMAL)
    device = plant.devices[asset]
    device.inject(kind, AT_S + 5.0 + for_s)
    return plant, device


@pytest.mark.parametrize("asset", list(COMMAND))
@pytest.mark.parametrize("kind", ["reject", "local", "trip", "refuse"])
def test_every_controllable_device_can_refuse(asset: str, kind: str) -> None:
    plant, device = failing(asset, kind)
    before = device.commands()
    with pytest.raises(Refused, match=asset):
        device.write(*COMMAND[asset], AT_S + 5.0)
    assert device.commands() == before
    run(plant, 11, NORMAL, first=5)
    device.write(*COMMAND[asset], AT_S + 16.0)  # and recovers


@pytest.mark.parametrize("asset", ["poc", "bess-1", "ups-1", "hall-a", "cooling-1"])
@pytest.mark.parametrize("kind", ["silent", "slow", "reboot"])
def test_every_device_can_fail_to_answer(asset: str, kind: str) -> None:
    plant, device = failing(asset, kind)
    for ask in (device.read, device.commands):
        with pytest.raises(DeviceSilent, match=asset):
            ask()
    run(plant, 11, NORMAL, first=5)
    assert device.read()


@pytest.mark.parametrize("asset", ["poc", "bess-1", "ups-1", "hall-a", "cooling-1"])
def test_a_frozen_device_repeats_itself(asset: str) -> None:
    plant, device = failing(asset, "frozen")
    if asset in COMMAND:
        device.write(*COMMAND[asset], AT_S + 5.0)
    said = device.read()
    run(plant, 5, FULL, first=5)
    assert device.read() == said
    run(plant, 6, FULL, first=10)
    assert device.read() != said


@pytest.mark.parametrize(("asset", "reaches"), [("bess-1", True), ("hall-a", True)])
def test_a_slow_device_obeys_but_does_not_say_so_in_time(asset: str, reaches: bool) -> None:
    plant, device = failing(asset, "slow")
    with pytest.raises(DeviceSilent):
        device.write(*COMMAND[asset], AT_S + 5.0)
    run(plant, 5, NORMAL, first=5)
    assert device.power_kw == pytest.approx(COMMAND[asset][1])


def test_a_silent_device_gets_no_heartbeat_and_lapses() -> None:
    plant = Plant(two_mw_site(), 1)
    bess = plant.devices["bess-1"]
    bess.write("power_setpoint_kw", -200.0, AT_S)
    bess.inject("silent", AT_S + 200.0)
    run(plant, 95, NORMAL)
    with pytest.raises(DeviceSilent):
        bess.keep_alive(AT_S + 95.0)
    assert bess.power_kw == 0.0


@pytest.mark.parametrize("asset", list(COMMAND))
def test_a_device_that_ignores_shows_the_command_and_does_not_act(asset: str) -> None:
    plant, device = failing(asset, "ignores")
    command, value = COMMAND[asset]
    before_kw = device.power_kw
    device.write(command, value, AT_S + 5.0)
    run(plant, 5, NORMAL, first=5)
    assert device.commands()[command] == value
    assert device.power_kw == before_kw


def test_a_meter_wired_backwards_shows_export() -> None:
    _, meter = failing("poc", "wrong_sign")
    assert meter.read()["power_kw"] < -1000.0 < 0.0 < meter.power_kw


def test_a_tripped_device_draws_nothing_and_a_tripped_hall_loses_interactive_work_only() -> None:
    for asset in ("bess-1", "hall-a", "cooling-1"):
        plant, _ = failing(asset, "trip")
        step = run(plant, 1, NORMAL, first=5)[0]
        assert step.asset_kw[asset] == 0.0
    plant, _ = failing("hall-a", "trip")
    work = run(plant, 1, NORMAL, first=5)[0].work["hall-a"]
    assert work["interactive"].throttled_kwh > 0 and work["batch"].deferred_kwh > 0 and work["training"].deferred_kwh > 0


def test_a_rebooted_cluster_comes_back_at_its_contract_cap() -> None:
    plant, hall = failing("hall-a", "reboot")
    run(plant, 11, FULL, first=5)
    assert hall.commands()["power_cap_kw"] == plant.clusters[0].rating.contract_cap_kw
    assert hall.power_kw == pytest.approx(plant.clusters[0].rating.contract_cap_kw)


def test_every_named_fault_can_happen_to_every_device() -> None:
    plant = Plant(two_mw_site(), 1)
    for device in plant.devices.values():
        for kind in FAULTS:
            device.inject(kind, AT_S + 1.0)
    run(plant, 3, NORMAL)
    assert all(not d.faults for d in plant.devices.values())
    with pytest.raises(ValueError, match="expected one of"):
        plant.devices["poc"].inject("tired", 0.0)


def test_a_schedule_begins_each_fault_once_when_it_is_due() -> None:
    plant = Plant(two_mw_site(), 1)
    schedule = FaultSchedule([Fault(START + timedelta(seconds=s), "bess-1", "silent", 5.0) for s in (10, 3)])
    assert schedule.apply(plant.devices, AT_S + 2.9) == []
    assert [f.at for f in schedule.apply(plant.devices, AT_S + 3.0)] == [START + timedelta(seconds=3)]
    assert plant.devices["bess-1"].faults == {"silent": AT_S + 8.0}
    assert len(schedule.apply(plant.devices, AT_S + 60.0)) == 1
    assert schedule.apply(plant.devices, AT_S + 61.0) == []


def test_a_faults_file_takes_instants_and_seconds_and_names_unknown_devices(tmp_path: Path) -> None:
    path = tmp_path / "faults.yaml"
    rows = ("{at: 2024-08-19T05:00:10Z, device: bess-1, fault: silent, for_s: 30}", "{at: 5, device: hall-a, fault: local, for_s: 1}")
    path.write_text("faults:\n" + "".join(f"  - {row}\n" for row in rows))
    faults = load_faults(path, two_mw_site(), START)
    assert [(f.at - START).total_seconds() for f in faults] == [10.0, 5.0]
    path.write_text("faults:\n  - {at: 5, device: bess-9, fault: silent, for_s: 30}\n")
    with pytest.raises(ConfigError, match=r"faults.yaml:2:\d+ faults\[0\].device = .*expected one of poc"):
        load_faults(path, two_mw_site(), START)


def test_finishing_drops_what_still_waits() -> None:
    plant = Plant(two_mw_site(), 1)
    plant.devices["hall-a"].write("batch_limit_kw", 0.0, AT_S)
    run(plant, 36, NORMAL)
    rest = plant.finish()
    assert rest["hall-a"]["batch"] == pytest.approx(1.5)
    assert set(rest["hall-b"]) == set(CLASSES) - {"interactive"}


def test_the_air_of_a_made_summer_has_a_slow_seeded_moisture_and_is_never_wetter_than_full() -> None:
    times = [START.timestamp() + 600.0 * k for k in range(144 * 20)]
    here, there = ([MoistAir(seed).dew_point_c(at_s, 25.0) for at_s in times] for seed in (7, 8))
    assert here == [MoistAir(7).dew_point_c(at_s, 25.0) for at_s in times] and here != there
    assert 0.0 < min(here) < 5.0 and 12.0 < max(here) < 16.0
    assert max(abs(b - a) for a, b in pairwise(here)) < 0.2
    assert all(MoistAir(7).dew_point_c(at_s, 1.0) <= 1.0 for at_s in times)
