"""Polling over Modbus/TCP with the devices in another process: a site of 50, and block reads against a loop over points."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest
from pymodbus.client import AsyncModbusTcpClient

from adapters.field import ModbusField
from adapters.modbus.page import Page, Point
from adapters.modbus.page_file import load_page
from adapters.modbus.registers import registers_to_raw
from ems.assets.asset import DeviceLink
from ems.clock import Clock
from ems.site.model import Site
from tests.benchmarks.large_site import large_site
from tests.benchmarks.measure import note, quiet_heap, spread
from tests.benchmarks.table import Figure
from tests.control.loop import START

pytestmark = [pytest.mark.bench, pytest.mark.timeout(300)]

ROUNDS = 200
ANSWER_S = 0.005  # what a field device takes to answer, assumed; on loopback alone an answer is there at once
RATIOS = {0.0: 1.5, ANSWER_S: 10.0}  # at least so much faster are block reads than point reads, per point, by answering time


@asynccontextmanager
async def served_elsewhere(site: Site, answer_s: float = 0.0) -> AsyncIterator[Site]:
    """The site with its devices served by another process; each takes `answer_s` longer than its work to answer."""
    argv = [sys.executable, "-m", "tests.benchmarks.served", str(answer_s), *(link.page for link in site.links.values())]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    try:
        assert process.stdout is not None
        ports = dict(zip(site.links, json.loads(process.stdout.readline()), strict=True))
        links = {name: replace(link, port=ports[name]) for name, link in site.links.items()}
        poc = site.point_of_connection
        assets = {name: replace(asset, link=links[name]) if name in links else asset for name, asset in site.assets.items()}
        yield replace(site, assets=assets, point_of_connection=replace(poc, meter=links[poc.id]))
    finally:
        process.communicate()


def points_of(page: Page) -> list[Point]:
    """What a device is read for: readings and commands, without the scale factors and flags that come along in the blocks."""
    return [*page.points, *(page.read_back_point(c) for c in page.commands)]


async def read_point_by_point(client: AsyncModbusTcpClient, link: DeviceLink, page: Page) -> None:
    """One request per point: what a loop over a register list does."""
    for point in points_of(page):
        read = client.read_holding_registers if point.table == "holding" else client.read_input_registers
        answer = await read(point.address, count=point.count, device_id=link.unit_id)
        registers_to_raw(point, answer.registers)


async def ms_of(work: Awaitable[None]) -> float:
    begun = time.perf_counter()
    await work
    return 1000 * (time.perf_counter() - begun)


async def test_poll_of_50_devices() -> None:
    site = large_site(12, 12, 13, 12)
    assert len(site.links) == 50
    pages = {link.page: load_page(link.page) for link in site.links.values()}
    points = sum(len(points_of(pages[link.page])) for link in site.links.values())
    async with served_elsewhere(site) as served:
        field = ModbusField(served, pages, Clock.real(), {})
        for _ in range(5):
            await field.poll_once()
        with quiet_heap():
            used = time.process_time()
            took_ms = [await ms_of(field.poll_once()) for _ in range(ROUNDS)]
            cpu_ms = 1000 * (time.process_time() - used) / ROUNDS
        assert field.image(START).problems == {}
        await field.stop()
    words = f"{spread(took_ms)}; {cpu_ms:.1f} ms of processor time of the client, {cpu_ms / 10:.1f} % of a core at one poll per second"
    name = f"poll of 50 simulated devices over Modbus/TCP ({points} points), the devices in one other process"
    note(Figure(name, words, "-", "bench -k poll"))


@pytest.mark.parametrize("answer_s", RATIOS)
async def test_block_reads_against_a_loop_over_points(answer_s: float) -> None:
    site = large_site(1, 1, 1, 1)
    pages = {link.page: load_page(link.page) for link in site.links.values()}
    async with served_elsewhere(site, answer_s) as served:
        field = ModbusField(served, pages, Clock.real(), {})
        clients = {name: AsyncModbusTcpClient(link.host, port=link.port) for name, link in served.links.items()}
        assert all([await client.connect() for client in clients.values()])

        async def loop_over_points() -> None:
            for name, link in served.links.items():
                await read_point_by_point(clients[name], link, pages[link.page])

        await field.poll_once()
        await loop_over_points()
        blocks_ms, points_ms = [], []
        with quiet_heap():
            for _ in range(ROUNDS // 4):
                blocks_ms.append(await ms_of(field.poll_once()))
                points_ms.append(await ms_of(loop_over_points()))
        assert field.image(START).problems == {}
        for client in clients.values():
            client.close()
        await field.stop()
    count = sum(len(points_of(pages[link.page])) for link in site.links.values())
    ratio = median(points_ms) / median(blocks_ms)
    words = f"{ratio:.1f} times as fast: {spread(blocks_ms)} against {spread(points_ms)}"
    name = f"block reads, devices at once, against a loop of single reads with the same library: {count} points of {len(clients)} devices"
    note(Figure(f"{name}, answers after {1000 * answer_s:.0f} ms", words, f"≥ {RATIOS[answer_s]:g} (asserted)", "bench -k block_reads"))
    assert ratio >= RATIOS[answer_s]
