"""The equipment of a site behind Modbus: polls every device in the background, keeps the next image, writes and reads back.

`ModbusField` is an `ems.control.ports.Field`. All of it runs in one event loop; `image`, `apply` and `release` return at once. Devices are
polled each in its own task, so a silent one delays nobody. A lease is kept only when `apply` was called with `refresh_leases=True`: the
poller never keeps one. Assets that are not in control are never written, whatever is asked.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from adapters.modbus.device import Device
from adapters.modbus.link import Link
from adapters.modbus.page import Page
from ems.assets.asset import DeviceLink
from ems.clock import Clock
from ems.dispatch.setpoint import Setpoint
from ems.errors import Complaint, ConfigError
from ems.messages import Mode
from ems.site.leases import TAKING_KW, lease_s
from ems.site.model import Site
from ems.state.image import SiteImage

SHORTEST_PERIOD_S = 0.05  # wall seconds between two polls of a device at high speeds
AT_ONCE = 50  # devices polled in the same instant
SPREAD = 0.5  # of a period: more devices are polled one after the other over so much of it, so that none waits for the others' work
LOG = logging.getLogger(__name__)


class ModbusField:
    """All devices of a site. `pages` by the name (or path) the site's device links use; `modes` by asset id, observe when absent.

    `may_write` is asked before every write: a process that is no longer the one in charge writes nothing. `links` replaces the sockets.
    """

    def __init__(
        self,
        site: Site,
        pages: Mapping[str, Page],
        clock: Clock,
        modes: Mapping[str, Mode],
        seed: int = 0,
        deadline_s: float = 0.4,
        may_write: Callable[[], bool] = lambda: True,
        links: Mapping[tuple[str, int], Link] | None = None,
    ) -> None:
        refuse_assumed_commands(site.links, pages)
        self._clock = clock
        self._modes = dict(modes)
        self._deadline_s = deadline_s
        self._period_s = max(SHORTEST_PERIOD_S, site.control.cycle_s / clock.speed)
        self._links = _links(site.links, seed, deadline_s) if links is None else links
        for line in self._links.values():
            line.may_write = may_write
        self._devices = {
            a: Device(a, pages[k.page], self._links[k.host, k.port], k.unit_id, k.lease_s, clock, lease_s(site, a, TAKING_KW))
            for a, k in site.links.items()
        }
        self._first = {cluster.id for cluster in site.clusters}  # caps before storage
        last = (*(c.id for c in site.clusters), *(b.id for b in site.batteries), *(u.id for u in site.upses), site.point_of_connection.id)
        self._rank = {asset: k for k, asset in enumerate(last, 1)}  # the order of polls; the meter comes last
        self._releases: list[str] = []
        self._is_due = asyncio.Event()
        self._round = asyncio.Lock()
        self._late: set[asyncio.Task[None]] = set()  # writes that outlasted their deadline
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def write_counts(self) -> dict[str, int]:
        """Write requests sent so far, by asset."""
        return {asset: device.write_count for asset, device in self._devices.items()}

    @property
    def spread_s(self) -> float:
        """Wall seconds from the first poll of a period to the last; 0 when all are polled at once."""
        return SPREAD * self._period_s if len(self._devices) > AT_ONCE else 0.0

    async def start(self) -> None:
        """Begins polling and writing. What decisions hang on is polled last, shortly before the cycle."""
        order = sorted(self._devices.values(), key=lambda device: self._rank.get(device.asset, 0))
        gap_s = self.spread_s / len(order) if order else 0.0
        self._tasks = [asyncio.create_task(self._poll_forever(device, k * gap_s)) for k, device in enumerate(order)]
        self._tasks.append(asyncio.create_task(self._write_forever()))

    async def stop(self) -> None:
        """Writes what is still asked for, then closes every connection. Setpoints stay in the devices until released or lapsed."""
        await self._write_once()
        tasks, self._tasks = [*self._tasks, *self._late], []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for link in self._links.values():
            link.close()

    async def poll_once(self) -> None:
        """Reads every device once, all at the same time."""
        await asyncio.gather(*(device.poll() for device in self._devices.values()))

    def image(self, now: datetime) -> SiteImage:
        """The newest readings and read-back commands of all devices, with the stamps of the wire."""
        devices = self._devices.items()
        return SiteImage(
            now,
            {asset: device.readings for asset, device in devices},
            {asset: device.commands for asset, device in devices if device.page.commands},
            {asset: device.problem for asset, device in devices if device.problem is not None},
        )

    def set_modes(self, modes: Mapping[str, Mode]) -> None:
        """Takes the modes in force; an asset that is not named is observed."""
        self._modes = dict(modes)

    def apply(self, setpoints: Sequence[Setpoint], refresh_leases: bool, astray: Collection[str] = ()) -> None:
        """Hands over the setpoints of assets in control; they are written in the background, caps of clusters first. Those that are
        `astray` are told again every twenty seconds, whatever their registers show."""
        wanted: dict[str, dict[str, float]] = {}
        for setpoint in setpoints:
            if self._is_controlled(setpoint.asset):
                wanted.setdefault(setpoint.asset, {})[setpoint.command] = setpoint.power_kw
        for asset, device in self._devices.items():
            device.want(wanted.get(asset, {}), refresh_leases, asset in astray)
        self._is_due.set()

    def release(self, assets: Sequence[str]) -> None:
        """Lets go of assets that we hold or control, in the order given."""
        for asset in assets:
            if asset in self._devices:
                self._devices[asset].want({}, False)
                self._releases.append(asset)
        self._is_due.set()

    def _is_controlled(self, asset: str) -> bool:
        return asset in self._devices and self._modes.get(asset, Mode.OBSERVE) is Mode.CONTROL

    async def _poll_forever(self, device: Device, after_s: float) -> None:
        loop = asyncio.get_running_loop()
        due_s = loop.time() + after_s
        if after_s:
            await asyncio.sleep(after_s)
        while True:
            await self._guarded(device, device.poll())
            missed = max(0, math.floor((loop.time() - due_s) / self._period_s))
            due_s += (1 + missed) * self._period_s  # a poll that was late must not push the others of this device towards the next cycle
            await asyncio.sleep(due_s - loop.time())

    async def _write_forever(self) -> None:
        while True:
            await self._is_due.wait()
            await self._write_once()

    async def _write_once(self) -> None:
        async with self._round:
            self._is_due.clear()
            releases, self._releases = self._releases, []
            for asset in releases:
                await self._guarded(self._devices[asset], self._devices[asset].let_go(self._is_controlled(asset)))
            await self._flush(d for a, d in self._devices.items() if a in self._first)
            await self._flush(d for a, d in self._devices.items() if a not in self._first)

    async def _flush(self, devices: Iterable[Device]) -> None:
        """Writes to devices at the same time and waits at most one deadline: a silent one must not hold back the rest."""
        tasks = [asyncio.create_task(self._guarded(device, device.flush())) for device in devices]
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=self._deadline_s)
        self._late |= late
        for task in late:
            task.add_done_callback(self._late.discard)

    async def _guarded(self, device: Device, work: Coroutine[Any, Any, None]) -> None:
        """Runs the work of one device; a defect there is logged and must not stop the others."""
        try:
            await work
        except Exception:  # a defect, not device trouble: the device's readings age, the rest of the site goes on
            LOG.exception("device %s: internal error", device.asset)


def refuse_assumed_commands(links: Mapping[str, DeviceLink], pages: Mapping[str, Page]) -> None:
    """Raises ConfigError when a command that nobody has a document for would be written to real equipment."""
    complaints = [
        Complaint(
            link.page, 1, 1, f"commands.{name}.evidence", "assumed", f"document or secondary for {asset} at {link.host} (not loopback)"
        )
        for asset, link in links.items()
        if not link.is_loopback
        for name in pages[link.page].assumed_commands
    ]
    if complaints:
        raise ConfigError(complaints)


def _links(links: Mapping[str, DeviceLink], seed: int, deadline_s: float) -> dict[tuple[str, int], Link]:
    """One connection per endpoint, each with its own seeded jitter."""
    endpoints = dict.fromkeys((link.host, link.port) for link in links.values())
    return {(host, port): Link(host, port, random.Random(f"{seed} {host} {port}"), deadline_s) for host, port in endpoints}
