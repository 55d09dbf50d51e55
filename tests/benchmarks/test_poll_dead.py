"""A poll of 300 devices of which a tenth is dead and a twentieth slow: the dead and slow ones add nothing to the others."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from statistics import median

import numpy as np
import pytest

from adapters.field import ModbusField
from adapters.modbus.device import Device
from adapters.modbus.page import Page
from adapters.modbus.page_file import load_page
from ems.clock import Clock
from ems.site.model import Site
from tests.benchmarks.large_site import large_site
from tests.benchmarks.measure import note, quiet_heap, spread
from tests.benchmarks.table import Figure
from tests.benchmarks.test_poll import served_elsewhere

pytestmark = [pytest.mark.bench, pytest.mark.timeout(300)]

SECONDS, TURNS = 6, 3  # by turns with and without dead devices, so that other work on the machine meets both alike
SLOW_S = 0.45
MOST = 1.5  # times the poll without dead and slow devices
AIM = f"p99 < 500 ms; at most {MOST} x of all well (asserted)"
DEAD, SLOW = 10, 20  # every 10th is dead, every 20th slow


@contextmanager
def black_holes(count: int) -> Iterator[list[int]]:
    """Ports that take a connection and never answer."""
    with ExitStack() as stack:
        holes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for hole in holes:
            hole.bind(("127.0.0.1", 0))
            hole.listen(16)
        yield [hole.getsockname()[1] for hole in holes]


async def polls(site: Site, pages: Mapping[str, Page], healthy: set[str]) -> tuple[list[float], float]:
    """Milliseconds of every poll of a healthy device, all devices polled each second in the background as in the daemon; and the processor
    time of the poller in ms per second."""
    field = ModbusField(site, pages, Clock.real(), {})
    took_ms: list[float] = []

    async def timed(device: Device) -> None:
        began = time.perf_counter()
        await whole(device)
        if device.asset in healthy and is_counting:
            took_ms.append(1000.0 * (time.perf_counter() - began))

    whole, is_counting = Device.poll, False
    Device.poll = timed  # type: ignore[method-assign]
    try:
        await field.start()
        await asyncio.sleep(4.0)
        is_counting, used_s = True, time.process_time()
        with quiet_heap():
            await asyncio.sleep(SECONDS)
        used_s = time.process_time() - used_s
        image = field.image(Clock.real().now())
        assert not set(image.problems) & healthy
    finally:
        Device.poll = whole  # type: ignore[method-assign]
        await field.stop()
    return took_ms, 1000.0 * used_s / SECONDS


async def test_a_dead_or_slow_device_adds_nothing_to_the_poll_of_the_others() -> None:
    site = large_site(75, 75, 75, 74)
    names = list(site.links)
    assert len(names) == 300
    pages = {link.page: load_page(link.page) for link in site.links.values()}
    dead, slow = set(names[5::DEAD]), set(names[2::SLOW])
    healthy = set(names) - dead - slow
    async with served_elsewhere(site) as fast, served_elsewhere(site, SLOW_S) as late:
        with black_holes(len(dead)) as holes:
            ports = dict(zip(sorted(dead), holes, strict=True))
            moved = {a: replace(late.links[a] if a in slow else fast.links[a], port=ports[a]) if a in dead else None for a in names}
            links = {a: moved[a] or (late.links[a] if a in slow else fast.links[a]) for a in names}
            assets = {a: replace(x, link=links[a]) if a in links else x for a, x in fast.assets.items()}  # type: ignore[call-arg,union-attr]
            mixed = replace(fast, assets=assets)
            turns = [(await polls(mixed, pages, healthy), await polls(fast, pages, healthy)) for _ in range(TURNS)]
    with_ms, without_ms = ([ms for turn in turns for ms in turn[k][0]] for k in (0, 1))
    cpu_ms = [median(turn[k][1] for turn in turns) for k in (0, 1)]
    ratio = np.percentile(with_ms, [50, 99]) / np.percentile(without_ms, [50, 99])
    words = (
        f"{spread(with_ms)} with 30 dead, 15 slow (450 ms), {spread(without_ms)} with all well: {ratio[0]:.2f} and {ratio[1]:.2f} times; "
        f"{cpu_ms[0]:.0f} and {cpu_ms[1]:.0f} ms of processor time of the poller a second"
    )
    note(Figure("poll of one device among 300, all polled each second", words, AIM, "bench -k poll_of_the_others"))
    assert ratio.max() <= MOST
