"""An office on a port of its own, beside a fake control."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from ems.office.service import Service, listen
from tests.office.given import Running

PATIENT_S = 90.0  # wall: for what an idle machine does within a second or two


async def until(is_true: Callable[[], Any], what: str) -> Any:
    """The first truthy answer."""
    for _ in range(int(PATIENT_S / 0.02)):
        if found := is_true():
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(f"{what}: not within {PATIENT_S} s")


@dataclass
class Served:
    """The site, its office, and how to reach it."""

    running: Running
    service: Service
    port: int
    client: httpx.AsyncClient


@asynccontextmanager
async def served(running: Running, speed: float = 1.0) -> AsyncIterator[Served]:
    """An office that serves until the block ends."""
    service, listening = running.service(speed), listen(0)
    port = listening.getsockname()[1]
    task = asyncio.create_task(service.run(listening))
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENT_S) as client:
            yield Served(running, service, port, client)
    finally:
        await service.stop()
        await task
        service.close()
        listening.close()


@pytest.fixture
def running(tmp_path: Path) -> Running:
    """A site with a plan and a few cycles."""
    site = Running(tmp_path)
    site.forecast(site.plan())
    for _ in range(5):
        site.cycle()
    return site


@pytest.fixture
async def office(running: Running) -> AsyncIterator[Served]:
    """Its office."""
    async with served(running) as found:
        yield found
