"""One device: its newest readings, its commands as read back, and the writes that keep both in step.

Readings are stamped with site time when the question went out and are never stamped anew. Commands are absolute, written on change or
to keep the lease, and compared with what the device shows afterwards: an acknowledgement is not yet an effect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from adapters.modbus.link import Link, Refusal
from adapters.modbus.page import LEASE_SECONDS, Command, Identity, Page, Point
from adapters.modbus.registers import (
    RANGES,
    Block,
    decode_point,
    encode,
    exponent_of,
    plan_blocks,
    raw_to_registers,
    registers_to_raw,
    step_kw,
    words_of,
)
from ems.clock import Clock
from ems.errors import DeviceLied, DeviceRefused, FieldError
from ems.reading import Quality, Reading

REFUSED_BLOCK_PAUSE = timedelta(seconds=30)  # a register the device does not have is not asked for every second
REPEAT_AFTER = timedelta(seconds=20)  # between further attempts after the first repeat: at most 3 a minute, no write war
LEASE_SHARE = 3  # the lease is refreshed when a third of it has passed

Writes = list[tuple[Point, tuple[int, ...]]]


@dataclass(frozen=True, slots=True)
class Sent:
    """A command as last written: value in kW, when, whether acknowledged, whether the device ever showed it, how often repeated."""

    value_kw: float
    registers: tuple[int, ...]
    at: datetime
    is_acknowledged: bool
    was_seen: bool = False
    repeats: int = 0
    is_refused: bool = False


class Device:
    """A device behind a link. `readings`, `commands` and `problem` are replaced, never changed in place."""

    def __init__(self, asset: str, page: Page, link: Link, unit_id: int, lease_s: float, clock: Clock) -> None:
        self.asset, self.page, self.link, self.unit_id = asset, page, link, unit_id
        self.readings: Mapping[str, Reading] = {}
        self.commands: Mapping[str, Reading] = {}
        self.write_count = 0
        self._clock = clock
        self._lease_s = lease_s
        self._third = timedelta(seconds=lease_s / LEASE_SHARE)
        self._settle = timedelta(seconds=page.settle_s)
        self._blocks = plan_blocks(_polled_points(page), page.max_registers, page.max_gap)
        self._paused: dict[Block, datetime] = {}
        self._words: dict[tuple[str, int], int] = {}
        self._generation = 0  # connection on which the device was last met
        self._wanted: dict[str, float] = {}
        self._keep_lease = False
        self._armed_at: datetime | None = None
        self._fed_at: datetime | None = None
        self._beat = 0
        self._sent: dict[str, Sent] = {}
        self._link_problem: str | None = None
        self._write_problem: dict[str, str] = {}
        self._mismatch: dict[str, str] = {}
        self._map_problem: dict[Block, str] = {}
        self._writing = asyncio.Lock()
        self._is_asked = False

    @property
    def problem(self) -> str | None:
        """Why the device is not to be trusted now; None when all is well."""
        found = [self._link_problem, *self._mismatch.values(), *self._write_problem.values(), *self._map_problem.values()]
        return "; ".join(dict.fromkeys(text for text in found if text)) or None

    @property
    def is_holding(self) -> bool:
        """True when we have written to the device and not let go of it."""
        return bool(self._sent)

    async def poll(self) -> None:
        """Reads every block once; trouble is kept in `problem`, the last readings stay and age."""
        if self.page.lease.fed_by_reads and self._armed_at is not None and not self._is_fed():
            self._link_problem = "not read, so that the lease lapses"
            return
        try:
            await self._meet()
            await self._read_blocks()
            self._link_problem = None
        except FieldError as error:
            self._link_problem = str(error)

    def want(self, commands: Mapping[str, float], keep_lease: bool) -> None:
        """What the commands should be from now on, and whether the lease may be kept alive. `flush` writes it."""
        known = {command.name for command in self.page.commands}
        self._wanted = {name: value for name, value in commands.items() if name in known}
        self._keep_lease = keep_lease
        unknown = sorted(set(commands) - known)
        self._write_problem = {name: f"{name}: the device has no such command" for name in unknown}

    async def flush(self) -> None:
        """Writes what differs from what the device was told or shows, and keeps the lease when that is allowed.

        A call while another is at work returns at once; the newest wish is then written by that one.
        """
        self._is_asked = True
        if self._writing.locked():
            return
        async with self._writing:
            while self._is_asked:
                self._is_asked = False
                await self._flush_guarded()

    async def let_go(self) -> None:
        """Returns the device to its own defaults; what cannot be written lapses with the lease."""
        async with self._writing:
            self._armed_at, self._fed_at = None, None
            self._mismatch, self._write_problem = {}, {}
            if not self._sent:
                return
            self._sent = {}
            try:
                await self._write(self._sequence(self.page.lease.release))
            except FieldError as error:
                self._write_problem["release"] = f"release failed, the lease of {self._lease_s:g} s will lapse: {error}"

    # Reading

    async def _meet(self) -> None:
        """On a new connection: is it still the same type of device? It may have been restarted, so everything is armed again."""
        generation = await self.link.open()
        if self._generation == generation:
            return
        for identity in self.page.identity:
            await self._check_identity(identity)
        self._generation, self._armed_at = generation, None
        self._paused, self._map_problem = {}, {}

    async def _check_identity(self, identity: Identity) -> None:
        point = self.page.register(identity.register)
        words = await self.link.read(self.unit_id, point.table, point.address, point.count)
        found = registers_to_raw(point, words)
        if found != identity.equals:
            self._generation = 0
            raise DeviceLied(f"not a {self.page.title}: {point.name} is {found!r}, expected {identity.equals!r}")

    async def _read_blocks(self) -> None:
        for block in self._blocks:
            at = self._clock.now()
            if at < self._paused.get(block, at):
                continue
            try:
                registers = await self.link.read(self.unit_id, block.table, block.address, block.count)
            except Refusal as error:
                self._note_refused_block(block, error, at)
                continue
            self._map_problem.pop(block, None)
            self._take(block, registers, at)

    def _note_refused_block(self, block: Block, error: Refusal, at: datetime) -> None:
        self._map_problem[block] = str(error)
        if error.is_map_fault:
            self._paused[block] = at + REFUSED_BLOCK_PAUSE

    def _take(self, block: Block, registers: list[int], at: datetime) -> None:
        for offset, word in enumerate(registers):
            self._words[(block.table, block.address + offset)] = word
        points = [p for p in self.page.points if _is_inside(p, block)]
        self.readings = {**self.readings, **self._decoded([(p.name, p) for p in points], at)}
        commands = [(c.name, self.page.read_back_point(c)) for c in self.page.commands]
        shown = self._decoded([(name, p) for name, p in commands if _is_inside(p, block)], at)
        if self._is_disabled():  # what the register holds has no effect
            shown = {name: Reading(None, at, Quality.BAD) for name in shown}
        self.commands = {**self.commands, **shown}
        for name, reading in shown.items():
            self._compare(self.page.command(name), reading)

    def _is_disabled(self) -> bool:
        enable = self.page.lease.enable
        if enable is None:
            return False
        words = words_of(self.page.register(enable), self._words)
        return words is not None and not registers_to_raw(self.page.register(enable), words)

    def _decoded(self, points: list[tuple[str, Point]], at: datetime) -> dict[str, Reading]:
        found: dict[str, Reading] = {}
        for name, point in points:
            decoded = decode_point(self.page, point, self._words)
            if decoded is not None:
                found[name] = Reading(decoded[0], at, decoded[1])
        return found

    def _compare(self, command: Command, shown: Reading) -> None:
        """Notes when the device shows something else than it was told, once it has had time to follow."""
        sent = self._sent.get(command.name)
        if sent is None or shown.at <= sent.at:
            return
        if shown.value is not None and abs(shown.value - sent.value_kw) <= self._tolerance_kw(command, sent.value_kw):
            self._mismatch.pop(command.name, None)
            self._write_problem.pop("link", None)
            self._sent[command.name] = replace(sent, was_seen=True, repeats=0)
        elif shown.at - sent.at >= self._settle and self._is_fed():
            self._mismatch[command.name] = f"{command.name}: told {sent.value_kw:g}, reads back {_shown(shown)} ({_reading_of(sent)})"

    def _tolerance_kw(self, command: Command, value_kw: float) -> float:
        exponent = exponent_of(self.page, command.point, self._words) or 0
        return command.tolerance_kw + 0.51 * step_kw(command.point, exponent) + 1e-6 * abs(value_kw)

    # Writing

    def _is_stranger(self) -> bool:
        """True until the device was met on the connection in use."""
        return self._generation == 0 or self._generation != self.link.generation

    def _is_fed(self) -> bool:
        """True while the device still follows us."""
        if self.page.lease.kind == "none":
            return True
        return self._fed_at is not None and (self._clock.now() - self._fed_at).total_seconds() < self._lease_s

    async def _flush_guarded(self) -> None:
        if not self._wanted or self._is_stranger():
            return
        try:
            await self._flush()
        except FieldError as error:
            self._write_problem["link"] = f"write failed: {error}"

    async def _flush(self) -> None:
        now = self._clock.now()
        self._write_problem.pop("link", None)
        if not self._is_fed():
            self._armed_at = None
        due = [c for c in self.page.commands if c.name in self._wanted and self._is_due(c, now)]
        is_lapsing = self._fed_at is None or now - self._fed_at >= self._third
        lease = self.page.lease
        if self._keep_lease and lease.kind != "none" and (self._armed_at is None or (is_lapsing and lease.kind != "heartbeat")):
            await self._arm(due, now)
        elif due:
            await self._send(due, now)
        if self._keep_lease and lease.counter is not None and self._armed_at is not None and (is_lapsing or self._armed_at == now):
            await self._beat_once(now)

    def _is_due(self, command: Command, now: datetime) -> bool:
        sent = self._sent.get(command.name)
        value_kw = self._wanted[command.name]
        if sent is None:
            return True
        since = now - sent.at
        if since < timedelta(seconds=command.min_write_interval_s):
            return False
        if self._registers(command, value_kw) != sent.registers:
            return True
        if not sent.is_acknowledged:
            return not sent.is_refused or since >= REPEAT_AFTER
        pause = self._settle if sent.repeats == 0 else REPEAT_AFTER
        return command.name in self._mismatch and since >= pause

    def _registers(self, command: Command, value_kw: float) -> tuple[int, ...] | None:
        """The registers to write; None (and a problem) when the value is outside what may be written."""
        if not command.min_kw <= value_kw <= command.max_kw:
            self._write_problem[command.name] = f"{command.name}: {value_kw:g} kW is outside {command.min_kw:g} to {command.max_kw:g} kW"
            return None
        exponent = exponent_of(self.page, command.point, self._words)
        if exponent is None:
            self._write_problem[command.name] = f"{command.name}: scale factor {command.point.scale_factor} is not known"
            return None
        try:
            registers = encode(command.point, value_kw, exponent)
        except DeviceRefused as error:
            self._write_problem[command.name] = str(error)
            return None
        self._write_problem.pop(command.name, None)
        return registers

    async def _arm(self, due: list[Command], now: datetime) -> None:
        """Lease and commands in the order the page says; a volatile command is written again, so that lease and value belong together."""
        lease = self.page.lease
        commands = [c for c in self.page.commands if c.name in self._wanted and (c in due or c.memory == "volatile")]
        await self._write(self._sequence(lease.before))
        await self._send(commands, now)
        await self._write(self._sequence(lease.after))
        self._armed_at = now
        if lease.counter is None:
            self._fed_at = now

    async def _beat_once(self, now: datetime) -> None:
        point = self.page.register(self.page.lease.counter or "")
        self._beat = self._beat % min(65535, RANGES[point.type][1]) + 1  # never 0, which would let go
        await self._write([(point, raw_to_registers(point, self._beat))])
        self._fed_at = now

    def _sequence(self, values: Sequence[tuple[str, float | str]]) -> Writes:
        registers = [(self.page.register(name), self._lease_s if value == LEASE_SECONDS else float(value)) for name, value in values]
        return [(point, raw_to_registers(point, value if point.type == "float32" else round(value))) for point, value in registers]

    async def _send(self, commands: list[Command], now: datetime) -> None:
        encoded = [(c, self._registers(c, self._wanted[c.name])) for c in commands]
        writes = [(c, registers) for c, registers in encoded if registers is not None]
        for command, registers in writes:
            self._note_sent(command, registers, now, is_acknowledged=False)
        try:
            await self._write([(c.point, registers) for c, registers in writes])
        except Refusal as error:
            await self._send_one_by_one(writes, now, error)
            return
        for command, registers in writes:
            self._note_sent(command, registers, now, is_acknowledged=True)

    async def _send_one_by_one(self, writes: list[tuple[Command, tuple[int, ...]]], now: datetime, error: Refusal) -> None:
        """One refused command must not take the others with it."""
        for command, registers in writes:
            try:
                if len(writes) == 1:
                    raise error
                await self._write([(command.point, registers)])
            except Refusal as refusal:
                self._write_problem[command.name] = f"{command.name}: {refusal}"
                self._sent[command.name] = replace(self._sent[command.name], is_refused=True)
            else:
                self._note_sent(command, registers, now, is_acknowledged=True)

    def _note_sent(self, command: Command, registers: tuple[int, ...], now: datetime, is_acknowledged: bool) -> None:
        before = self._sent.get(command.name)
        is_repeat = before is not None and before.registers == registers and command.name in self._mismatch
        repeats = (before.repeats + (0 if is_acknowledged else 1)) if before is not None and is_repeat else 0
        seen = before.was_seen if before is not None and before.registers == registers else False
        self._sent[command.name] = Sent(self._wanted[command.name], registers, now, is_acknowledged, seen, repeats)
        if not is_repeat:
            self._mismatch.pop(command.name, None)

    async def _write(self, writes: Writes) -> None:
        """Writes in order, neighbours in one request where the device takes several registers at once."""
        for address, registers in _merged(writes, self.page.write_function):
            self.write_count += 1
            await self.link.write(self.unit_id, address, registers, self.page.write_function)


def _polled_points(page: Page) -> list[Point]:
    needed = [n for p in (*page.points, *(c.point for c in page.commands)) for n in (p.scale_factor, p.quality)]
    helpers = {name for name in (*needed, page.lease.enable) if name is not None}
    return [*page.points, *(page.read_back_point(c) for c in page.commands), *(page.register(name) for name in sorted(helpers))]


def _merged(writes: Writes, function: int) -> list[tuple[int, list[int]]]:
    merged: list[tuple[int, list[int]]] = []
    for point, registers in writes:
        if merged and function == 16 and merged[-1][0] + len(merged[-1][1]) == point.address:
            merged[-1][1].extend(registers)
        else:
            merged.append((point.address, list(registers)))
    return merged


def _is_inside(point: Point, block: Block) -> bool:
    return point.table == block.table and block.address <= point.address and point.end <= block.address + block.count


def _shown(reading: Reading) -> str:
    return "no value" if reading.value is None else f"{reading.value:g}"


def _reading_of(sent: Sent) -> str:
    if sent.was_seen:
        return "changed by the device or by another master"
    return "acknowledged but not applied" if sent.is_acknowledged else "not acknowledged, not applied"
