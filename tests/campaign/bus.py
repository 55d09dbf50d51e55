"""The simulated bus: every device behind the registers of its own page, with the faults of wires, registers and other masters.

The controller's real adapter talks to it; only the socket is missing. Everything written is kept in the wire log.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from adapters.modbus.link import Link, NotConnected, NotInCharge, Refusal
from adapters.modbus.memory import PageRegisters
from adapters.modbus.page import Page
from ems.errors import DeviceLied, DeviceSilent
from ems.site.model import Site
from simulators.devices.device import FAULTS as DEVICE_FAULTS
from simulators.plant import Plant
from tests.campaign.loop import Time

DEADLINE_S = 0.4
BACKOFF_S = (0.2, 5.0)
REFUSALS = {"map_fault": 2, "device_failure": 4, "busy": 6, "gateway": 11}
WIRE = {"silent", "black_hole", "flapping", "slow", "late", "short_answers", "wrong_unit", "lost_answers", *REFUSALS}
REGISTERS = {"swapped", "sentinels", "torn", "deaf", "reverts", "other_master", "reversed", "moved_map"}
LIES = {"offset", "rescaled", "soc_jump", "soc_stuck", "derated"}
REVERT_AFTER_S = 7.0


@dataclass(frozen=True, slots=True)
class WireWrite:
    """A command that reached a device: who sent it, what it meant there."""

    at_s: float
    writer: int  # epoch of the control process
    asset: str
    command: str
    kw: float
    is_accepted: bool


@dataclass
class Bus:
    """All endpoints of a site and the log of what was written."""

    site: Site
    plant: Plant
    pages: Mapping[str, Page]
    time: Time
    epoch_s: float
    writes: list[WireWrite] = field(default_factory=list)
    last_read_s: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.endpoints = {a: Endpoint(self, a, self.pages[link.page]) for a, link in self.site.links.items()}

    def links(self, writer: int) -> dict[tuple[str, int], Link]:
        """Fresh connections of one control process."""
        return {(link.host, link.port): SimLink(self.endpoints[a], writer) for a, link in self.site.links.items()}

    @property
    def at_s(self) -> float:
        """Epoch seconds now."""
        return self.epoch_s + self.time.s


class Endpoint:
    """One device on the bus. `faults` maps a kind to the world second at which it ends; `strength` scales a lie."""

    def __init__(self, bus: Bus, asset: str, page: Page) -> None:
        self.bus, self.asset, self.page = bus, asset, page
        self.device = bus.plant.devices[asset]
        self.faults: dict[str, float] = {}
        self.strength: dict[str, float] = {}
        self.writer = 0
        self._registers = PageRegisters(page, self._values, self._write)
        self._was_rebooting = False
        self._rating: Any = None
        self._held_soc = 0.0
        self._revert_at_s = float("inf")
        self._before: dict[tuple[str, int], list[int]] = {}  # as last answered, for values that are torn
        self._shown: dict[str, float] = {}  # command registers that say something else than the device does

    def begin(self, kind: str, until_s: float, strength: float = 0.0) -> None:
        """A fault begins."""
        if kind in DEVICE_FAULTS and kind not in WIRE:
            self.device.inject(kind, self.bus.epoch_s + until_s)
        elif kind in WIRE | REGISTERS | LIES:
            self.faults[kind], self.strength[kind] = until_s, strength
        else:
            raise ValueError(kind)
        if kind == "derated":
            self._rating = self.device.rating  # type: ignore[attr-defined]
            self.device.rating = replace(self._rating, power_kw=self._rating.power_kw * strength)  # type: ignore[attr-defined]
        if kind == "soc_stuck":
            self._held_soc = self.device.shown()["soc"]

    def tick(self) -> None:
        """Once a second: faults end, other masters write, devices forget."""
        now_s = self.bus.time.s
        for kind in [k for k, until_s in self.faults.items() if now_s >= until_s]:
            del self.faults[kind]
            if kind == "derated":
                self.device.rating = self._rating  # type: ignore[attr-defined]
        is_rebooting = "reboot" in self.device.faults
        if is_rebooting and not self._was_rebooting:
            self._registers.reset()
            self._shown.clear()
        self._was_rebooting = is_rebooting
        if "other_master" in self.faults and int(now_s) % 10 == 0:
            self._set_behind(self.strength["other_master"])
        if now_s >= self._revert_at_s:
            self._revert_at_s = float("inf")
            self._set_behind(0.0)
        if not self.faults:
            self._shown.clear()

    def _set_behind(self, share: float) -> None:
        """Somebody else writes the first command: a share of what the device can do."""
        if not self.device.COMMANDS:
            return
        command = self.device.COMMANDS[0]
        rating = self.device.rating  # type: ignore[attr-defined]
        kw = share * getattr(rating, "power_kw", getattr(rating, "charge_kw", getattr(rating, "rating_kw", 0.0)))
        try:
            self.device.take(command, kw, self.bus.at_s)
        except Exception:  # the device refuses the stranger too
            return

    def is_up(self) -> bool:
        """True while a connection can be opened."""
        if "reboot" in self.device.faults or "black_hole" in self.faults:
            return False
        return not ("flapping" in self.faults and int(self.bus.time.s / 3.0) % 2)

    def words(self, table: str, address: int, count: int) -> list[int]:
        """Registers as the device answers them."""
        found = self._registers.words(table, address, count)
        if found is None or "moved_map" in self.faults:
            raise Refusal(f"{table} {address}", 2)
        if "sentinels" in self.faults:
            return [0x7FC0 if p % 2 == 0 else 0 for p in range(count)] if self._is_float() else [0x8000] * count
        if "swapped" in self.faults:
            return [((w & 0xFF) << 8) | (w >> 8) for w in found]
        self.bus.last_read_s[self.asset] = self.bus.time.s
        before, self._before[table, address] = self._before.get((table, address), found), found
        if "torn" in self.faults:  # the halves of a value are of two instants; asked again at once, they are of one
            return [old if k % 2 else new for k, (new, old) in enumerate(zip(found, before, strict=True))]
        return found

    def _is_float(self) -> bool:
        return self.page.points[0].type == "float32"

    def store(self, address: int, registers: list[int], writer: int) -> None:
        """A write that arrives."""
        self.writer = writer
        if "moved_map" in self.faults:
            raise Refusal(f"write {address}", 2)
        code = self._registers.store(address, registers)
        if code is not None:
            raise Refusal(f"write {address}", code)

    def _values(self) -> dict[str, float]:
        values = {**self.device.shown(), **self.device.registers, **self._shown}
        values["lease_remaining_s"] = self.device.lease_remaining_s(self.bus.at_s)
        if "offset" in self.faults:
            values["power_kw"] += self.strength["offset"]
        if "rescaled" in self.faults:
            values["power_kw"] *= self.strength["rescaled"]
        if "soc_jump" in self.faults:
            values["soc"] = min(1.0, max(0.0, values["soc"] + self.strength["soc_jump"]))
        if "soc_stuck" in self.faults:
            values["soc"] = self._held_soc
        return values

    def _write(self, name: str, value: float) -> None:
        at_s = self.bus.at_s
        if name == "lease_s":
            self.device.keep_alive(at_s, value)
            return
        if name == "release":
            self.device.lapse()
            return
        if "deaf" in self.faults:
            self._log(name, value, False)
            return
        try:
            self._take(name, value, at_s)
        except Exception:
            self._log(name, value, False)
            raise
        self._log(name, value, True)

    def _take(self, name: str, value: float, at_s: float) -> None:
        if "reversed" in self.faults:
            self.device.take(name, -value, at_s)
            self._shown[name] = value
            return
        self._shown.pop(name, None)
        self.device.take(name, value, at_s)
        if "reverts" in self.faults:
            self._revert_at_s = self.bus.time.s + REVERT_AFTER_S

    def _log(self, name: str, kw: float, is_accepted: bool) -> None:
        self.bus.writes.append(WireWrite(self.bus.time.s, self.writer, self.asset, name, kw, is_accepted))


class SimLink(Link):
    """A connection without a socket: the same promises, back-off and deadlines, in virtual time."""

    def __init__(self, endpoint: Endpoint, writer: int) -> None:
        super().__init__("sim", 0, random.Random(0), DEADLINE_S)
        self._endpoint, self._writer = endpoint, writer
        self._is_open = False
        self._backoff_s = 0.0
        self._try_at_s = 0.0

    async def open(self) -> int:
        async with self._lock:
            await self._reach()
            return self.generation

    async def read(self, unit_id: int, table: str, address: int, count: int) -> list[int]:
        async with self._lock:
            await self._reach()
            await self._ask(f"{table} {address}+{count}")
            words = self._endpoint.words(table, address, count)
            await self._answer(f"{table} {address}+{count}", is_write=False)
            return words

    async def write(self, unit_id: int, address: int, registers: Any, function: int = 16) -> None:
        where = f"write {address}+{len(registers)}"
        async with self._lock:
            await self._reach()
            if not self.may_write():
                raise NotInCharge(f"{where}: not sent, another process is in charge or this one was paused")
            await self._ask(where)
            self._endpoint.store(address, list(registers), self._writer)
            await self._answer(where, is_write=True)

    def close(self) -> None:
        self._is_open = False
        self._backoff_s = self._try_at_s = 0.0

    async def _reach(self) -> None:
        endpoint, now_s = self._endpoint, self._endpoint.bus.time.s
        if self._is_open and not endpoint.is_up():
            self._is_open = False
        if self._is_open:
            return
        if now_s < self._try_at_s:
            raise NotConnected(f"{endpoint.asset} not connected")
        self._backoff_s = min(BACKOFF_S[1], max(BACKOFF_S[0], 2.0 * self._backoff_s))
        self._try_at_s = now_s + self._backoff_s
        if not endpoint.is_up():
            if "black_hole" in endpoint.faults:
                await asyncio.sleep(1.0)
            raise DeviceSilent(f"{endpoint.asset} does not accept a connection")
        self._is_open = True
        self.generation += 1

    async def _ask(self, where: str) -> None:
        """The question travels; silence costs one deadline and the connection."""
        faults = self._endpoint.faults
        if not faults:
            return
        if "silent" in faults:
            await asyncio.sleep(DEADLINE_S)
            raise self._lose(DeviceSilent(f"{where}: no answer within {DEADLINE_S} s"))
        for kind, code in REFUSALS.items():
            if kind in faults:
                raise Refusal(where, code)

    async def _answer(self, where: str, is_write: bool) -> None:
        faults = self._endpoint.faults
        if faults:
            if "slow" in faults:
                await asyncio.sleep(0.3)
            if "late" in faults or (is_write and "lost_answers" in faults):
                await asyncio.sleep(DEADLINE_S)
                raise self._lose(DeviceSilent(f"{where}: no answer within {DEADLINE_S} s"))
            for kind, what in (("short_answers", "answered 1 register"), ("wrong_unit", "unit 77 answered for unit 1")):
                if kind in faults:
                    raise self._lose(DeviceLied(f"{where}: {what}"))
        self._backoff_s = 0.0

    def _lose(self, error: Exception) -> Exception:
        self._is_open = False
        return error
