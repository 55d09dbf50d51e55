"""The simulated site as Modbus/TCP servers: one per device, on the same pages the controller reads, stepping on the run's clock."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from adapters.modbus.page import Page
from adapters.modbus.server import Fault as ServerFault
from adapters.modbus.server import PageServer
from ems.clock import Clock
from ems.errors import EmsError
from ems.site.model import Site
from simulators.demand import DemandSource, GeneratedDemand
from simulators.devices.device import Device
from simulators.faults import Fault, FaultSchedule
from simulators.plant import Plant
from simulators.truth import EDGE_S, Truth
from simulators.weather import generated_temp_c

TICK_S = 0.1  # wall seconds between two advances of the plant
SUBSTEP_S = 1.0  # site seconds a plant step may take at most
MAX_SUBSTEPS = 3600  # per tick; what a stalled process has missed is caught up over several ticks
STATUS_EVERY_S = 1.0  # wall seconds between two plant.json
STATUS_FILE = "plant.json"
ANY_PORT = 0
LOG = logging.getLogger(__name__)


async def serve(
    site: Site,
    pages: Mapping[str, Page],
    clock: Clock,
    seed: int = 1,
    faults: Sequence[Fault] = (),
    demand: DemandSource | None = None,
    loopback_base: int | None = None,
    state_dir: Path | None = None,
    outdoor_temp_c: Callable[[float], float] = generated_temp_c,
) -> None:
    """Serves the site's devices until cancelled. `pages` by the names the links use.

    Writes `plant.json` into `state_dir` every wall second. Raises EmsError when a port is taken, a page is missing or the folder
    cannot be written.
    """
    server = PlantServer(site, pages, clock, seed, faults, demand, loopback_base, state_dir, outdoor_temp_c)
    await server.start()
    try:
        await server.run()
    finally:
        await server.stop()


class PlantServer:
    """A plant and the servers that speak for its devices. Clusters start at their contract caps, like equipment without a master.

    `loopback_base` puts the n-th device of `site.links` (from 0) at 127.0.0.1:base+n; 0 takes free ports, None the site's own addresses.
    """

    def __init__(
        self,
        site: Site,
        pages: Mapping[str, Page],
        clock: Clock,
        seed: int = 1,
        faults: Sequence[Fault] = (),
        demand: DemandSource | None = None,
        loopback_base: int | None = None,
        state_dir: Path | None = None,
        outdoor_temp_c: Callable[[float], float] = generated_temp_c,
    ) -> None:
        self.plant = Plant(site, seed, starts_lapsed=True)
        self.truth = Truth(site)
        self.servers: dict[str, PageServer] = {}
        self._site, self._pages, self._clock = site, pages, clock
        self._faults = FaultSchedule(faults)
        self._demand = demand if demand is not None else GeneratedDemand(site, seed)
        self._loopback_base, self._state_dir = loopback_base, state_dir
        self._outdoor_temp_c = outdoor_temp_c
        self._at_s = clock.now().timestamp()
        self._rebooting: set[str] = set()

    async def start(self) -> None:
        """Steps once, so that there is something to read, and listens on every device's port. Raises EmsError."""
        self._advance_to(math.floor(self._at_s) + SUBSTEP_S)
        for n, (asset, link) in enumerate(self._site.links.items()):
            server = self._server(asset, link.page, link.unit_id, *self._address(n, link.host, link.port))
            try:
                await server.start()
            except OSError as error:
                await self.stop()
                raise EmsError(f"{asset}: {server.host}:{server.port} cannot be listened on ({error})") from None
            self.servers[asset] = server
        try:
            self._write_status()
        except OSError as error:
            await self.stop()
            raise EmsError(f"{self._state_dir}: {STATUS_FILE} cannot be written ({error})") from None

    async def run(self) -> None:
        """Advances the plant with the clock until cancelled."""
        next_status_s = self._clock.wall_s()
        while True:
            await self.advance()
            if self._clock.wall_s() >= next_status_s:
                next_status_s = self._clock.wall_s() + STATUS_EVERY_S
                self._try_status()
            await asyncio.sleep(TICK_S)

    async def advance(self) -> None:
        """Brings the plant to the clock's now and the servers to the devices' faults."""
        self._advance_to(self._clock.now().timestamp())
        for asset, server in self.servers.items():
            await self._follow_faults(self.plant.devices[asset], server)

    async def stop(self) -> None:
        """Stops listening and leaves a last plant.json."""
        for server in self.servers.values():
            await server.stop()
        self._try_status()

    def status(self) -> dict[str, Any]:
        """The plant's truth and how often each device was written to."""
        return {
            "at": datetime.fromtimestamp(self._at_s, UTC).isoformat(),
            **self.truth.summary(),
            "commands": {d.id: dict(d.registers) for d in self.plant.devices.values() if d.registers},
            "writes": {asset: server.write_count for asset, server in self.servers.items()},
            "faults": {d.id: sorted(d.faults) for d in self.plant.devices.values() if d.faults},
        }

    def _advance_to(self, now_s: float) -> None:
        for _ in range(MAX_SUBSTEPS):
            end_s = min(now_s, math.floor(self._at_s + EDGE_S) + SUBSTEP_S)
            if end_s - self._at_s < EDGE_S:
                return
            self._step(end_s)

    def _step(self, end_s: float) -> None:
        self._faults.apply(self.plant.devices, self._at_s)
        at = datetime.fromtimestamp(self._at_s, UTC)
        self.truth.count(self.plant.step(end_s - self._at_s, at, self._demand.at(self._at_s), self._outdoor_temp_c(self._at_s)))
        self._at_s = end_s

    def _address(self, n: int, host: str, port: int) -> tuple[str, int]:
        if self._loopback_base is None:
            return host, port
        return "127.0.0.1", self._loopback_base + n if self._loopback_base else ANY_PORT

    def _server(self, asset: str, page: str, unit_id: int, host: str, port: int) -> PageServer:
        if page not in self._pages:
            raise EmsError(f"{asset}: no page {page!r}; there are {', '.join(self._pages)}")
        device = self.plant.devices[asset]
        return PageServer(
            self._pages[page],
            lambda: self._values(device),
            lambda name, value: self._write(device, name, value),
            host,
            port,
            unit_id,
        )

    def _values(self, device: Device) -> dict[str, float]:
        return {**device.shown(), **device.registers, "lease_remaining_s": device.lease_remaining_s(self._at_s)}

    def _write(self, device: Device, name: str, value: float) -> None:
        if name == "lease_s":
            device.keep_alive(self._at_s, value)
        elif name == "release":
            device.lapse()
        else:
            device.take(name, value, self._at_s)

    async def _follow_faults(self, device: Device, server: PageServer) -> None:
        """Faults of the wire: silence and lateness are the server's, a reboot drops its connections and its registers."""
        is_rebooting = "reboot" in device.faults
        if is_rebooting and device.id not in self._rebooting:
            self._rebooting.add(device.id)
            await server.restart()
        elif not is_rebooting:
            self._rebooting.discard(device.id)
        is_silent = is_rebooting or "silent" in device.faults
        server.fault = ServerFault.SILENT if is_silent else ServerFault.SLOW if "slow" in device.faults else None

    def _try_status(self) -> None:
        """A full disk must not stop the equipment; the file then shows its age."""
        try:
            self._write_status()
        except OSError as error:
            LOG.warning("%s not written: %s", STATUS_FILE, error)

    def _write_status(self) -> None:
        if self._state_dir is None:
            return
        path = self._state_dir / STATUS_FILE
        draft = path.with_suffix(".tmp")
        draft.write_text(json.dumps(self.status()))
        os.replace(draft, path)
