"""The simulated site over real sockets, on a clock moved by hand."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import numpy as np
import pytest

from adapters.modbus.device import Device
from adapters.modbus.link import Link
from adapters.modbus.page import Page
from adapters.modbus.page_file import load_page
from ems.app.ports import PortRow, is_listening
from ems.clock import Clock
from ems.errors import EmsError
from ems.resources import bundled
from ems.site.load import load_site
from ems.site.model import Site
from simulators.demand import DemandSeries, TableDemand
from simulators.faults import Fault
from simulators.modbus import PlantServer, serve
from simulators.plant import Demand, Plant
from simulators.truth import Truth
from tests.simulators.sites import IMPORT_LIMIT_KW, two_mw_site

START = datetime(2024, 8, 19, 5, tzinfo=UTC)
COMMANDS = {
    "bess-1": {"power_setpoint_kw": -200.0},
    "ups-1": {"battery_setpoint_kw": -50.0},
    "hall-a": {"power_cap_kw": 500.0, "batch_limit_kw": 80.0},
}


class HandClock(Clock):
    """A clock that stands still until it is moved."""

    moved = timedelta(0)

    def now(self) -> datetime:
        return self.epoch + HandClock.moved

    def move(self, seconds: float) -> None:
        HandClock.moved += timedelta(seconds=seconds)


class Bench:
    """A served site and one client per device."""

    def __init__(self, site: Site, pages: dict[str, Page], folder: Path, faults: list[Fault]) -> None:
        HandClock.moved = timedelta(0)
        self.clock = HandClock(START, 0.0)
        column = [[180.0], [180.0], [90.0], [100.0], [20.0]]
        demand = TableDemand(0.0, 10.0, {c.id: DemandSeries(*map(np.array, column)) for c in site.clusters})
        self.server = PlantServer(site, pages, self.clock, 7, faults, demand, loopback_base=0, state_dir=folder)
        self.site, self.pages, self.folder = site, pages, folder
        self.devices: dict[str, Device] = {}

    async def start(self) -> None:
        await self.server.start()
        for asset, link in self.site.links.items():
            wire = Link("127.0.0.1", self.server.servers[asset].port, Random(0), deadline_s=20.0, connect_s=20.0)
            self.devices[asset] = Device(asset, self.pages[link.page], wire, link.unit_id, link.lease_s, self.clock)

    async def stop(self) -> None:
        for device in self.devices.values():
            device.link.close()
        await self.server.stop()

    async def pass_time(self, seconds: float) -> None:
        self.clock.move(seconds)
        await self.server.advance()

    async def command(self, asset: str, keep_lease: bool = True) -> Device:
        device = self.devices[asset]
        await device.poll()
        device.want(COMMANDS[asset], keep_lease)
        await device.flush()
        return device


@pytest.fixture(scope="module")
def site() -> Site:
    return load_site(bundled("config/sites/demo-2mw.yaml"))


@pytest.fixture(scope="module")
def pages(site: Site) -> dict[str, Page]:
    return {link.page: load_page(link.page) for link in site.links.values()}


@pytest.fixture
async def bench(site: Site, pages: dict[str, Page], tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    bench = Bench(site, pages, tmp_path, getattr(request, "param", []))
    await bench.start()
    yield bench
    await bench.stop()


def fault(device: str, kind: str, at_s: float = 2.0, for_s: float = 60.0) -> list[Fault]:
    return [Fault(START + timedelta(seconds=at_s), device, kind, for_s)]


async def test_every_reading_of_every_device_arrives_over_the_wire(bench: Bench) -> None:
    await bench.pass_time(5.0)
    for asset, device in bench.devices.items():
        await device.poll()
        assert device.problem is None
        truth = bench.server.plant.devices[asset].read()
        assert set(device.readings) <= set(truth)
        for point, reading in device.readings.items():
            assert reading.value == pytest.approx(truth[point], rel=0.005, abs=0.11), f"{asset} {point}"
    assert {"power_kw", "soc"} <= set(bench.devices["bess-1"].readings)


async def test_reading_alone_never_writes(bench: Bench) -> None:
    for _ in range(3):
        await bench.pass_time(1.0)
        for device in bench.devices.values():
            await device.poll()
    assert set(bench.server.status()["writes"].values()) == {0}


@pytest.mark.parametrize("asset", list(COMMANDS))
async def test_a_command_acts_and_reads_back(bench: Bench, asset: str) -> None:
    device = await bench.command(asset)
    await bench.pass_time(5.0)
    await device.poll()
    assert device.problem is None
    assert {k: device.commands[k].value for k in COMMANDS[asset]} == pytest.approx(COMMANDS[asset], abs=0.1)
    expected = {"bess-1": ("power_kw", -200.0), "ups-1": ("battery_kw", -50.0), "hall-a": ("power_kw", 500.0)}[asset]
    assert device.readings[expected[0]].value == pytest.approx(expected[1], abs=1.0)
    assert bench.server.status()["writes"][asset] > 0


@pytest.mark.parametrize("asset", list(COMMANDS))
async def test_a_command_lapses_when_nobody_keeps_its_lease(bench: Bench, asset: str) -> None:
    device = await bench.command(asset)
    lease_s = bench.site.links[asset].lease_s
    await bench.pass_time(lease_s - 2.0)
    simulated = bench.server.plant.devices[asset]
    command, value = next(iter(COMMANDS[asset].items()))
    assert simulated.commands()[command] == pytest.approx(value)
    await bench.pass_time(4.0)
    await device.poll()
    left = bench.server.plant.clusters[0].rating.contract_cap_kw if asset == "hall-a" else 0.0
    assert simulated.commands()[command] == pytest.approx(left)
    assert device.commands[command].value in (None, pytest.approx(left))  # None where the page shows that the command is disabled


@pytest.mark.parametrize("asset", list(COMMANDS))
async def test_a_kept_lease_does_not_lapse(bench: Bench, asset: str) -> None:
    device = await bench.command(asset)
    lease_s = bench.site.links[asset].lease_s
    for _ in range(6):
        await bench.pass_time(lease_s / 2)
        await device.flush()
    command, value = next(iter(COMMANDS[asset].items()))
    assert bench.server.plant.devices[asset].commands()[command] == pytest.approx(value)


@pytest.mark.parametrize("asset", list(COMMANDS))
async def test_letting_go_returns_a_device_to_its_defaults_at_once(bench: Bench, asset: str) -> None:
    device = await bench.command(asset)
    await device.let_go()
    command = next(iter(COMMANDS[asset]))
    left = bench.server.plant.clusters[0].rating.contract_cap_kw if asset == "hall-a" else 0.0
    assert bench.server.plant.devices[asset].commands()[command] == pytest.approx(left)


@pytest.mark.parametrize(("bench", "asset"), [(fault(a, "reject", 0.0), a) for a in COMMANDS], indirect=["bench"])
async def test_a_refusal_reaches_the_client_as_one(bench: Bench, asset: str) -> None:
    await bench.pass_time(5.0)
    device = await bench.command(asset)
    assert device.problem is not None and "exception 3" in device.problem


@pytest.mark.parametrize("bench", [fault("bess-1", "silent"), fault("bess-1", "slow"), fault("bess-1", "reboot")], indirect=True)
async def test_a_device_that_does_not_answer_in_time_is_a_problem_and_ends(bench: Bench) -> None:
    await bench.pass_time(5.0)
    device = bench.devices["bess-1"]
    device.link.deadline_s = 0.3
    await device.poll()
    assert device.problem is not None
    await bench.pass_time(60.0)
    device.link.close()
    device.link.deadline_s = 20.0
    await device.poll()
    assert bench.server.servers["bess-1"].fault is None


@pytest.mark.parametrize("bench", [fault("poc", "frozen")], indirect=True)
async def test_a_frozen_meter_repeats_itself_on_the_wire(bench: Bench) -> None:
    await bench.pass_time(5.0)
    meter = bench.devices["poc"]
    await meter.poll()
    said = meter.readings["power_kw"].value
    await bench.pass_time(5.0)
    await meter.poll()
    assert meter.readings["power_kw"].value == said


async def test_the_plant_writes_its_truth_for_others(bench: Bench) -> None:
    await bench.pass_time(10.0)
    bench.server._write_status()
    told = json.loads((bench.folder / "plant.json").read_text())
    assert told["at"] == "2024-08-19T05:00:10+00:00"
    assert told["poc_kw"] == pytest.approx(sum(told["asset_kw"].values()))
    assert told["excursions"] == {"seconds": 0.0, "longest_s": 0.0, "max_kw": 0.0, "kwh": 0.0, "intervals": []}
    assert set(told["writes"]) == set(bench.site.links)


async def test_a_stalled_plant_catches_up_in_steps_of_at_most_a_second(bench: Bench) -> None:
    await bench.pass_time(7200.5)
    await bench.server.advance()
    await bench.server.advance()
    assert bench.server.truth.simulated_s == pytest.approx(7200.5)


async def test_a_clock_read_just_before_a_whole_second_does_not_stop_the_plant(bench: Bench) -> None:
    await bench.pass_time(1.9995)
    await bench.pass_time(3.0)
    assert bench.server.truth.simulated_s == pytest.approx(4.9995)


async def test_a_folder_that_cannot_be_written_is_an_error_that_names_it(site: Site, pages: dict[str, Page], tmp_path: Path) -> None:
    server = PlantServer(site, pages, HandClock(START, 0.0), loopback_base=0, state_dir=tmp_path / "absent")
    with pytest.raises(EmsError, match=r"absent: plant.json cannot be written"):
        await server.start()


async def test_a_taken_port_is_an_error_that_names_it(bench: Bench, site: Site, pages: dict[str, Page]) -> None:
    other = PlantServer(site, pages, bench.clock, loopback_base=bench.server.servers["poc"].port)
    with pytest.raises(EmsError, match=r"poc: 127.0.0.1:\d+ cannot be listened on"):
        await other.start()


async def test_a_missing_page_is_an_error_that_names_it(site: Site, pages: dict[str, Page]) -> None:
    some = {name: page for name, page in pages.items() if name != "generic-it-cluster"}
    server = PlantServer(site, some, HandClock(START, 0.0), loopback_base=0)
    with pytest.raises(EmsError, match="hall-a: no page 'generic-it-cluster'"):
        await server.start()
    await server.stop()


def test_excursions_are_counted_on_the_mean_of_each_second() -> None:
    plant, truth = Plant(two_mw_site(), 1), Truth(two_mw_site())
    full = {"hall-a": Demand(400.0, 400.0, 200.0), "hall-b": Demand(300.0, 300.0, 150.0)}
    none = {"hall-a": Demand(0.0, 0.0, 0.0), "hall-b": Demand(0.0, 0.0, 0.0)}
    pattern = [none, none, full, full, full, full, none, full, none, none, none, none]  # half seconds: one whole second and two mixed
    for i, demand in enumerate(pattern):
        truth.count(plant.step(0.5, START + timedelta(seconds=i / 2), demand, 40.0))
    told = truth.summary()["excursions"]
    assert told["seconds"] == told["longest_s"] == 2.0
    (interval,) = told["intervals"]
    assert (interval["start"], interval["end"]) == ("2024-08-19T05:00:01+00:00", "2024-08-19T05:00:03+00:00")
    assert interval["max_kw"] == told["max_kw"] > IMPORT_LIMIT_KW * 0.1
    assert truth.excursion_kwh > 0.0


async def test_serving_runs_on_the_clock_until_cancelled_and_frees_its_ports(site: Site, pages: dict[str, Page], tmp_path: Path) -> None:
    clock, row = Clock.starting_at(START, 50.0), PortRow()  # nobody else takes the ports
    serving = asyncio.create_task(serve(site, pages, clock, loopback_base=row.base, state_dir=tmp_path))
    async with asyncio.timeout(90.0):
        while clock.now() < START + timedelta(seconds=20) or not is_listening(row.base) or simulated_s(tmp_path) <= 5.0:
            await asyncio.sleep(0.02)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    told = json.loads((tmp_path / "plant.json").read_text())
    assert 5.0 < told["simulated_s"] <= (clock.now() - START).total_seconds() + 1.0
    assert told["excursions"]["seconds"] == 0.0
    assert not is_listening(row.base)
    row.let_go()


def simulated_s(folder: Path) -> float:
    return float(json.loads((folder / "plant.json").read_text())["simulated_s"])
