"""An office on a port of its own, beside a fake control."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from ems.office.service import Service, listen
from tests.office.given import Running


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
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20.0) as client:
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
