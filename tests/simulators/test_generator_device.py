"""The simulated generator: its own sequence, its own transfer control, what it refuses, what it burns; over real sockets too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import numpy as np
import pytest

from adapters.modbus.device import Device
from adapters.modbus.link import Link
from adapters.modbus.page_file import load_page
from ems.assets.generator.model import Generator
from ems.clock import Clock
from simulators.demand import DemandSeries, TableDemand
from simulators.devices.generator import LOCKED_OUT_S, GeneratorDevice
from simulators.devices.renewable import RenewableDevice
from simulators.errors import Refused
from simulators.irradiance import Resource, pv_share
from simulators.modbus import PlantServer
from simulators.plant import Plant
from tests.assets.generator_site import DIESEL, GAS, PV, SMR, a_generator, site_with

SURE = {"start_failure": 0.0}
LINK = {"page": "generic-generator", "host": "127.0.0.1", "lease_s": 75}
SUN_LINK = {"page": "generic-pv-plant", "host": "127.0.0.1", "lease_s": 75}
SITE = site_with(
    gas_1={**GAS, **SURE, "link": {**LINK, "port": 15041}},
    diesel_1={**DIESEL, **SURE, "link": {**LINK, "port": 15042}},
    smr_1={**SMR, "link": {**LINK, "port": 15043}},
    pv_1={**PV, "ramp_kw_per_s": 10, "link": {**SUN_LINK, "port": 15044}},
)
NOON_S = datetime(2024, 6, 20, 18, tzinfo=UTC).timestamp()


class Bench:
    """One machine stepped second by second."""

    def __init__(self, name: str = "gas-1", **changes: object) -> None:
        machine = a_generator(SITE, name) if not changes else Generator(**{**a_generator(SITE, name).__dict__, **changes})
        self.device, self.at_s = GeneratorDevice(machine, Random(1)), NOON_S

    def run(self, seconds: float, beat: bool = True) -> GeneratorDevice:
        for _ in range(round(seconds)):
            if beat:
                self.device.keep_alive(self.at_s)
            self.device.step(1.0, self.at_s)
            self.at_s += 1.0
        return self.device

    def ask(self, request: float, kw: float) -> None:
        self.device.write("power_setpoint_kw", -kw, self.at_s)
        self.device.write("run_request", request, self.at_s)


def test_a_gas_engine_starts_loads_and_cools_down_by_its_own_sequence() -> None:
    bench = Bench()
    bench.ask(1.0, 300.0)
    seen = [bench.run(10).mode for _ in range(24)]
    assert list(dict.fromkeys(seen)) == ["starting", "warming", "synchronising", "loaded"]
    assert seen.index("loaded") * 10 == pytest.approx(180, abs=20)
    assert bench.run(120).power_kw == pytest.approx(-300.0)
    bench.ask(0.0, 0.0)
    assert bench.run(60).mode == "cooling_down" and bench.device.power_kw == 0.0
    assert bench.run(300).mode == "off"


def test_it_ramps_and_never_gives_less_than_its_minimum_load_while_loaded() -> None:
    bench = Bench()
    bench.ask(1.0, 400.0)
    bench.run(182)
    before = bench.device.generation_kw
    assert 0 < bench.run(3).generation_kw - before <= 3 * 400 / 60 + 1e-6
    bench.run(120)
    bench.ask(1.0, 0.0)
    assert bench.run(120).generation_kw == pytest.approx(80.0)


def test_what_it_cannot_do_it_refuses() -> None:
    bench = Bench()
    for command, value in (("power_setpoint_kw", -40.0), ("power_setpoint_kw", -500.0), ("power_setpoint_kw", 50.0), ("run_request", 0.5)):
        with pytest.raises(Refused):
            bench.device.write(command, value, bench.at_s)
    bench.device.inject("trip", bench.at_s + 100)
    with pytest.raises(Refused):
        bench.ask(1.0, 200.0)


def test_a_start_that_fails_locks_it_out_and_the_next_one_may_succeed() -> None:
    bench = Bench(start_failure=0.5)
    outcomes = []
    for _ in range(12):
        bench.ask(1.0, 200.0)
        bench.run(200)
        outcomes.append(bench.device.mode)
        if bench.device.mode == "fault":
            with pytest.raises(Refused):
                bench.device.write("run_request", 1.0, bench.at_s)
            bench.ask(0.0, 0.0)
            assert bench.run(LOCKED_OUT_S + 10).mode != "fault"
        bench.ask(0.0, 0.0)
        bench.run(400)
    assert {"fault", "loaded"} <= set(outcomes)


def test_while_it_carries_load_nobody_can_stop_it() -> None:
    bench = Bench("diesel-1")
    bench.device.transfer(500.0)
    assert bench.run(60).generation_kw == pytest.approx(500.0) and bench.device.carries_load
    with pytest.raises(Refused, match="carries load"):
        bench.device.write("run_request", 0.0, bench.at_s)
    bench.device.lapse()
    assert bench.run(60).generation_kw == pytest.approx(500.0)
    assert bench.device.read()["start_cause"] == 2.0
    bench.device.transfer(0.0)
    assert bench.run(400).mode == "off"


def test_without_a_master_a_gas_engine_goes_off_and_a_reactor_stays_at_its_rating() -> None:
    gas, smr = Bench(), Bench("smr-1")
    gas.ask(1.0, 300.0)
    smr.ask(1.0, 200.0)
    gas.run(300), smr.run(3000)
    assert gas.device.generation_kw == 300.0 and smr.device.generation_kw == pytest.approx(200.0)
    gas.run(600, beat=False), smr.run(4000, beat=False)
    assert gas.device.mode == "off" and smr.device.generation_kw == pytest.approx(300.0)


def test_fuel_follows_the_curve_between_its_points_and_starts_are_counted() -> None:
    bench = Bench(fuel_at_kw=(0.0, 200.0, 400.0), fuel_per_h=(50.0, 400.0, 900.0))
    bench.ask(1.0, 300.0)
    starts = sum(bench.run(1).starts for _ in range(300))
    assert starts == 1
    assert bench.run(1).fuel * 3600 == pytest.approx(650.0)
    bench.ask(0.0, 0.0)
    bench.run(60)
    assert bench.device.fuel * 3600 == pytest.approx(50.0)  # cooling down


def test_a_reactor_is_away_in_its_outage_and_comes_back_by_its_own_start() -> None:
    bench = Bench("smr-1", outage_start_s=(NOON_S + 60,), outage_end_s=(NOON_S + 120,), start_s=600.0)
    assert bench.run(59).generation_kw == 300.0
    assert bench.run(30).generation_kw == 0.0
    assert bench.run(600).generation_kw == 0.0
    assert bench.run(6000).generation_kw == pytest.approx(300.0, abs=5.0)


def test_two_plants_with_one_seed_tell_the_same_story() -> None:
    stories = []
    for _ in range(2):
        bench = Bench(start_failure=0.3)
        bench.ask(1.0, 200.0)
        stories.append([bench.run(20).read()["power_kw"] for _ in range(30)])
    assert stories[0] == stories[1]


def test_a_pv_plant_gives_what_is_there_up_to_its_ceiling_which_lapses_to_the_rating() -> None:
    device = RenewableDevice(SITE.renewables[0], Random(1))
    device.step(1.0, 0.0, 0.6)
    assert device.power_kw == -120.0
    device.write("generation_limit_kw", 50.0, 1.0)
    powers = []
    for k in range(12):
        device.step(1.0, 1.0 + k, 0.6)
        powers.append(-device.power_kw)
    assert powers[0] == pytest.approx(115.0) and powers[-1] == pytest.approx(50.0)
    assert device.read()["available_kw"] == pytest.approx(120.0, rel=0.01)
    for k in range(100):
        device.step(1.0, 100.0 + k, 0.6)
    assert device.power_kw == -120.0
    with pytest.raises(Refused):
        device.write("generation_limit_kw", 300.0, 300.0)


def test_the_sun_shines_by_day_only_and_is_a_function_of_time_and_seed_alone() -> None:
    day = NOON_S + 3600.0 * np.arange(-12, 12)
    shares = pv_share(7, "pv-1", day, -6.0)
    assert shares[12] > 0.3 and not shares[[0, 1, 23]].any() and shares.max() <= 1.0
    one, other = Resource("pv", 7, "pv-1", -6.0), Resource("pv", 8, "pv-1", -6.0)
    assert one.at(NOON_S + 5) == pytest.approx(float(pv_share(7, "pv-1", np.array([NOON_S + 5.0]), -6.0)[0]), rel=1e-9)
    assert one.at(NOON_S) == one.at(NOON_S) != other.at(NOON_S)
    assert 0.0 <= Resource("wind", 7, "w", 0.0).at(NOON_S) <= 1.0


def test_the_meter_sees_the_load_less_what_is_generated() -> None:
    plant = Plant(SITE, 3)
    demand = {c.id: TableDemand(0.0, 10.0, {c.id: series()}).at(0.0)[c.id] for c in SITE.clusters}
    step = plant.step(1.0, datetime(2024, 6, 20, 18, tzinfo=UTC), demand, 20.0)
    assert step.poc_kw == pytest.approx(sum(step.asset_kw.values()))
    assert step.asset_kw["smr-1"] == -300.0 and step.asset_kw["pv-1"] < 0.0
    assert step.generation_kwh * 3600 == pytest.approx(300.0 - step.asset_kw["pv-1"])


def series() -> DemandSeries:
    return DemandSeries(*map(np.array, [[180.0], [180.0], [90.0], [100.0], [20.0]]))


class HandClock(Clock):
    """A clock that stands still until it is moved."""

    moved = timedelta(0)

    def now(self) -> datetime:
        return self.epoch + HandClock.moved


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[PlantServer, HandClock]]:
    HandClock.moved = timedelta(0)
    clock = HandClock(datetime.fromtimestamp(NOON_S, UTC), 0.0)
    pages = {link.page: load_page(link.page) for link in SITE.links.values()}
    demand = TableDemand(0.0, 10.0, {c.id: series() for c in SITE.clusters})
    server = PlantServer(SITE, pages, clock, 7, [], demand, loopback_base=0, state_dir=tmp_path)
    await server.start()
    yield server, clock
    await server.stop()


async def test_a_machine_is_requested_and_loaded_over_the_wire_and_lapses_there(served: tuple[PlantServer, HandClock]) -> None:
    server, clock = served
    wire = Link("127.0.0.1", server.servers["gas-1"].port, Random(0), deadline_s=20.0, connect_s=20.0)
    device = Device("gas-1", load_page("generic-generator"), wire, 1, 75.0, clock)
    await device.poll()
    assert device.readings["mode"].value == 0.0 and device.readings["available_kw"].value == pytest.approx(400.0)
    for _ in range(10):
        device.want({"run_request": 1.0, "power_setpoint_kw": -350.0}, keep_lease=True)
        await device.flush()
        HandClock.moved += timedelta(seconds=30)
        await server.advance()
    await device.poll()
    assert device.readings["power_kw"].value == pytest.approx(-350.0, rel=0.01) and device.readings["mode"].value == 4.0
    assert device.commands["power_setpoint_kw"].value == -350.0 and device.commands["run_request"].value == 1.0
    HandClock.moved += timedelta(seconds=200)  # nobody feeds the lease
    await server.advance()
    await device.poll()
    assert device.readings["power_kw"].value == 0.0 and device.commands["run_request"].value == 0.0
    wire.close()


async def test_the_ceiling_of_a_pv_plant_is_set_over_the_wire(served: tuple[PlantServer, HandClock]) -> None:
    server, clock = served
    wire = Link("127.0.0.1", server.servers["pv-1"].port, Random(0), deadline_s=20.0, connect_s=20.0)
    device = Device("pv-1", load_page("generic-pv-plant"), wire, 1, 75.0, clock)
    await device.poll()
    assert (device.readings["available_kw"].value or 0.0) > 60.0
    device.want({"generation_limit_kw": 40.0}, keep_lease=True)
    await device.flush()
    HandClock.moved += timedelta(seconds=30)
    await server.advance()
    await device.poll()
    assert device.readings["power_kw"].value == pytest.approx(-40.0, rel=0.01)
    wire.close()
