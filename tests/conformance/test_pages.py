"""Every page in config/devices, found by itself: what it says can be served, read, written and refused."""

import math
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from adapters.modbus.device import Device
from adapters.modbus.link import Link, Refusal
from adapters.modbus.page import Page, Point, page_from_json, page_to_json
from adapters.modbus.page_file import REQUIRED, load_page
from adapters.modbus.registers import decode, encode, encode_missing, plan_blocks, registers_to_raw, step_kw
from adapters.modbus.server import PageServer
from ems.clock import Clock
from ems.errors import DeviceRefused
from ems.reading import Quality
from ems.resources import bundled

PAGES = sorted(bundled("config/devices").glob("*.yaml"))
LEASE_S = 60.0

pytestmark = pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)


@dataclass
class Served:
    """A page behind a server on loopback, and a device that reads it. `values` is what the equipment knows."""

    page: Page
    server: PageServer
    device: Device
    link: Link
    values: dict[str, float]
    told: list[tuple[str, float]] = field(default_factory=list)


@pytest.fixture
async def served(path: Path) -> AsyncIterator[Served]:
    page = load_page(path)
    values = some_values(page, random.Random(path.stem))
    told: list[tuple[str, float]] = []

    def write(name: str, value: float) -> None:
        told.append((name, value))
        values[name] = value

    server = PageServer(page, lambda: values, write)
    await server.start()
    link = Link(server.host, server.port, random.Random(1), deadline_s=20.0, connect_s=20.0)
    yield Served(page, server, Device("it", page, link, server.unit_id, LEASE_S, Clock.real()), link, values, told)
    link.close()
    await server.stop()


def test_there_are_pages_for_every_kind_of_asset(path: Path):
    assert {load_page(p).asset_kind for p in PAGES} == set(REQUIRED)


def test_every_point_says_where_it_is_known_from(path: Path):
    page = load_page(path)
    for point in all_points(page):
        assert point.evidence in {"document", "secondary", "assumed"}, point.name
        assert len(point.source) > 8, point.name
        assert point.evidence == "assumed" or not page.is_generic, f"{point.name}: a generic page has no document"


def test_a_generic_page_is_named_so(path: Path):
    assert load_page(path).is_generic == path.stem.startswith("generic-")


def test_a_page_survives_the_journey_as_json(path: Path):
    page = load_page(path)
    assert page_from_json(page_to_json(page)) == page


def test_random_values_come_back_through_the_registers(path: Path):
    page, rng = load_page(path), random.Random(f"round trip {path.stem}")
    for point in [*page.points, *(c.point for c in page.commands)]:
        exponent = simulated_exponent(page, point)
        for _ in range(50):
            value = some_value(point, exponent, rng)
            back = decode(point, encode(point, value, exponent), exponent)
            assert back == pytest.approx(value, abs=0.51 * step_kw(point, exponent), rel=1e-6), point.name


def test_no_value_is_never_a_number(path: Path):
    for point in load_page(path).points:
        for raw in point.invalid:
            assert decode(point, encode_missing(point) or (), 0) is None, (point.name, raw)
        with pytest.raises(DeviceRefused):
            encode(point, math.nan)


async def test_everything_served_is_read_back_equal(served: Served):
    await served.device.poll()
    assert served.device.problem is None
    for point in served.page.points:
        reading = served.device.readings[point.name]
        close = 0.51 * step_kw(point, simulated_exponent(served.page, point))
        assert reading.value == pytest.approx(served.values[point.name], abs=close, rel=1e-6), point.name
        assert reading.quality is Quality.GOOD


async def test_a_value_the_device_does_not_have_is_missing_and_not_zero(served: Served):
    missing = [p for p in served.page.points if encode_missing(p) is not None]
    for point in missing:
        del served.values[point.name]
    await served.device.poll()
    for point in missing:
        reading = served.device.readings[point.name]
        assert (reading.value, reading.quality) == (None, Quality.BAD), point.name


async def test_every_command_can_be_written_and_read_back(served: Served):
    await served.device.poll()
    wanted = {c.name: min(c.max_kw, 100.0 + n) for n, c in enumerate(served.page.commands)}
    served.device.want(wanted, keep_lease=True)
    await served.device.flush()
    await served.device.poll()
    assert served.device.problem is None
    assert {name: round(r.value or 0.0, 3) for name, r in served.device.commands.items()} == wanted
    assert {name: value for name, value in served.told if name in wanted} == pytest.approx(wanted)


async def test_a_setpoint_arms_the_lease_with_its_seconds(served: Served):
    await served.device.poll()
    served.device.want({c.name: min(c.max_kw, 10.0) for c in served.page.commands}, keep_lease=True)
    await served.device.flush()
    assert [value for name, value in served.told if name == "lease_s"] == ([LEASE_S] if served.page.commands else [])


async def test_letting_go_is_understood(served: Served):
    await served.device.poll()
    served.device.want({c.name: min(c.max_kw, 10.0) for c in served.page.commands}, keep_lease=True)
    await served.device.flush()
    await served.device.let_go(is_ours=True)
    assert [name for name, _ in served.told][-1:] == (["release"] if served.page.commands else [])


async def test_the_device_can_refuse(served: Served):
    """Whatever is not a command is refused, and so is a command outside its limits."""
    with pytest.raises(Refusal, match="exception 2"):
        await served.link.write(served.server.unit_id, unused_address(served.page), [1])
    with pytest.raises(Refusal, match="exception 2"):
        await served.link.write(served.server.unit_id, served.page.points[0].address, [0] * served.page.points[0].count)
    for command in served.page.commands:
        beyond = encode(command.point, command.max_kw * 2, simulated_exponent(served.page, command.point))
        with pytest.raises(Refusal, match="exception 3"):
            await served.link.write(served.server.unit_id, command.point.address, beyond)
    assert served.told == []


async def test_another_unit_is_answered_like_a_gateway_does(served: Served):
    point = served.page.points[0]
    with pytest.raises(Refusal, match="exception 11"):
        await served.link.read(9, point.table, point.address, point.count)


def test_reads_stay_within_what_a_device_answers(path: Path):
    page = load_page(path)
    blocks = plan_blocks(page.points, page.max_registers, page.max_gap)
    assert all(1 <= block.count <= page.max_registers for block in blocks)
    for point in page.points:
        assert any(b.table == point.table and b.address <= point.address and point.end <= b.address + b.count for b in blocks)


def all_points(page: Page) -> list[Point]:
    return [*page.points, *page.registers, *(c.point for c in page.commands)]


def some_values(page: Page, rng: random.Random) -> dict[str, float]:
    return {p.name: some_value(p, simulated_exponent(page, p), rng) for p in page.points}


def some_value(point: Point, exponent: int, rng: random.Random) -> float:
    """A value the point can say, away from its sentinels."""
    if point.values:
        return rng.choice([ours for _, ours in point.values])
    if point.type == "float32":
        return rng.uniform(-5e3, 5e3)
    step = step_kw(point, exponent)
    return point.sign * rng.randint(0 if point.type.startswith("u") else -30_000, 30_000) * step


def simulated_exponent(page: Page, point: Point) -> int:
    if point.scale_factor is None:
        return 0
    register = page.register(point.scale_factor)
    return int(registers_to_raw(register, [int(register.default or 0) & 0xFFFF]))


def unused_address(page: Page) -> int:
    return max(p.end for p in all_points(page)) + 500
