"""One device: its newest readings, its commands as read back, and the writes that keep both in step.

Readings are stamped with site time when the question went out and are never stamped anew. Commands are absolute, written on change or
to keep the lease, and compared with what the device shows afterwards: an acknowledgement is not yet an effect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from adapters.modbus.commands import REPEAT_AFTER, CommandBook, Write
from adapters.modbus.lifeline import Lifeline
from adapters.modbus.link import Link, NotConnected, Refusal
from adapters.modbus.page import LEASE_SECONDS, Identity, Page, Point
from adapters.modbus.registers import Block, decode_point, may_be_torn, plan_blocks, raw_to_registers, registers_to_raw, words_of
from ems.clock import Clock
from ems.errors import DeviceLied, FieldError
from ems.reading import Quality, Reading

REFUSED_BLOCK_PAUSE = timedelta(seconds=30)  # a register the device does not have is not asked for every second
FAILURES_THAT_COUNT = 2  # polls in a row without a usable answer

Sequenced = list[tuple[Point, tuple[int, ...]]]


class WrongDevice(DeviceLied):
    """Something else answers at the address of the device."""


class Device:
    """A device behind a link. `readings`, `commands` and `problem` are replaced, never changed in place.

    `taking_lease_s` is the lease of commands that have it take power, where that is another (a store that charges).
    """

    def __init__(
        self, asset: str, page: Page, link: Link, unit_id: int, lease_s: float, clock: Clock, taking_lease_s: float | None = None
    ) -> None:
        self.asset, self.page, self.link, self.unit_id = asset, page, link, unit_id
        self.readings: Mapping[str, Reading] = {}
        self.commands: Mapping[str, Reading] = {}
        self.write_count = 0
        self._clock = clock
        self._book = CommandBook(page)
        self._lease = Lifeline(page, lease_s)
        self._lease_s, self._taking_lease_s = lease_s, lease_s if taking_lease_s is None else taking_lease_s
        self._blocks = plan_blocks(_polled_points(page), page.max_registers, page.max_gap)
        self._keys = {b: [(b.table, b.address + offset) for offset in range(b.count)] for b in self._blocks}
        self._inside = {b: _points_inside(page, b) for b in self._blocks}
        self._wide = {b: [p for p in _polled_points(page) if p.count > 1 and _is_inside(p, b)] for b in self._blocks}
        self._answered: dict[Block, list[int]] = {}  # as last read
        self._paused: dict[Block, datetime] = {}
        self._map_problem: dict[Block, str] = {}
        self._words: dict[tuple[str, int], int] = {}
        self._generation = 0  # connection on which the device was last met
        self._link_problem = self._write_problem = ""
        self._failures = self._write_failures = 0
        self._refused_wish: Mapping[str, float] = {}
        self._is_arming_refused = False
        self._refused_until = clock.now()
        self._keep_lease = self._is_asked = self._is_let_go = False
        self._writing = asyncio.Lock()

    @property
    def problem(self) -> str | None:
        """Why the device is not to be trusted now; None when all is well.

        One poll without an answer is no reason yet: the last readings are still fresh, or their age says that they are not.
        """
        link = self._link_problem if self._failures >= FAILURES_THAT_COUNT or not self.readings else ""
        write = self._write_problem if self._write_failures >= FAILURES_THAT_COUNT else ""
        found = [link, *self._book.problems, write, *self._map_problem.values()]
        return "; ".join(dict.fromkeys(text for text in found if text)) or None

    async def poll(self) -> None:
        """Reads every block once; trouble is kept in `problem`, the last readings stay and age."""
        if self.page.lease.fed_by_reads and self._book.is_holding and not self._lease.is_fed(self._clock.now()):
            self._note_failure("not read, so that the lease lapses", FAILURES_THAT_COUNT)
            return
        try:
            await self._meet()
            await self._read_blocks()
            self._link_problem, self._failures = "", 0
        except NotConnected as error:
            self._note_failure(str(error), 0)  # the attempt before this one was counted
        except WrongDevice as error:
            self._note_failure(str(error), FAILURES_THAT_COUNT)
        except FieldError as error:
            self._note_failure(str(error), 1)

    def want(self, commands: Mapping[str, float], keep_lease: bool, is_astray: bool = False) -> None:
        """What the commands should be from now on, whether the lease may be kept alive, and whether the device does something else than it
        shows. `flush` writes it."""
        self._book.want(commands, is_astray)
        self._keep_lease = keep_lease

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
                await self._flush()

    async def let_go(self, is_ours: bool = True) -> None:
        """Returns the device to its own defaults, once; what cannot be written lapses with the lease.

        A device that this process never wrote to is let go only when it `is_ours`: a process before this one may have written.
        """
        async with self._writing:
            if self._is_let_go or not self.page.commands or not (self._book.is_holding or is_ours):
                return
            self._book.forget()
            self._lease.lose()
            try:
                await self._write(self._sequence(self.page.lease.release))
                self._is_let_go, self._write_failures = True, 0
            except FieldError as error:
                self._write_problem = f"release failed, the lease of {self._lease.seconds:g} s will lapse: {error}"
                self._write_failures = FAILURES_THAT_COUNT

    # Reading

    def _note_failure(self, why: str, weight: int) -> None:
        self._link_problem = why
        self._failures += weight

    async def _meet(self) -> None:
        """On a new connection: is it still the same type of device? It may have been restarted, so everything is armed again."""
        generation = await self.link.open()
        if self._generation == generation:
            return
        for identity in self.page.identity:
            await self._check_identity(identity)
        self._generation = generation
        self._lease.disarm()
        self._paused, self._map_problem = {}, {}

    async def _check_identity(self, identity: Identity) -> None:
        point = self.page.register(identity.register)
        found = registers_to_raw(point, await self.link.read(self.unit_id, point.table, point.address, point.count))
        if found != identity.equals:
            self._generation = 0
            raise WrongDevice(f"not a {self.page.title}: {point.name} is {found!r}, expected {identity.equals!r}")

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
            if self._may_be_torn(block, registers):  # read again: what the device wrote meanwhile is whole now
                at = self._clock.now()
                registers = await self.link.read(self.unit_id, block.table, block.address, block.count)
            self._answered[block] = registers
            self._take(block, registers, at)

    def _may_be_torn(self, block: Block, registers: list[int]) -> bool:
        before = self._answered.get(block)
        if before is None or before == registers:
            return False
        places = [(p, slice(p.address - block.address, p.end - block.address)) for p in self._wide[block]]
        return any(may_be_torn(p, before[place], registers[place]) for p, place in places)

    def _note_refused_block(self, block: Block, error: Refusal, at: datetime) -> None:
        self._map_problem[block] = str(error)
        if error.is_map_fault:
            self._paused[block] = at + REFUSED_BLOCK_PAUSE

    def _take(self, block: Block, registers: list[int], at: datetime) -> None:
        self._words.update(zip(self._keys[block], registers, strict=True))
        points, commands = self._inside[block]
        self.readings = {**self.readings, **self._decoded(points, at)}
        shown = self._decoded(commands, at)
        if self._is_disabled():  # what the register holds has no effect
            shown = {name: Reading(None, at, Quality.BAD) for name in shown}
        self.commands = {**self.commands, **shown}
        is_followed = self._lease.is_fed(self._clock.now())
        for name, reading in shown.items():
            self._book.compare(self.page.command(name), reading, self._words, is_followed, self._writing.locked())

    def _is_disabled(self) -> bool:
        if self.page.lease.enable is None:
            return False
        enable = self.page.register(self.page.lease.enable)
        words = words_of(enable, self._words)
        return words is not None and not registers_to_raw(enable, words)

    def _decoded(self, points: list[tuple[str, Point]], at: datetime) -> dict[str, Reading]:
        found: dict[str, Reading] = {}
        for name, point in points:
            decoded = decode_point(self.page, point, self._words)
            if decoded is not None:
                found[name] = Reading(decoded[0], at, decoded[1])
        return found

    # Writing

    async def _flush(self) -> None:
        is_stranger = self._generation == 0 or self._generation != self.link.generation
        now = self._clock.now()
        if not self._book.wanted or is_stranger or (self._book.wanted == self._refused_wish and now < self._refused_until):
            return
        try:
            await self._bring_in_step(now)
            self._write_failures = 0
        except Refusal as refusal:  # of the lease, or of the whole sequence: asked again after a while, or when the wish changes
            self._refused_wish, self._refused_until = self._book.wanted, now + REPEAT_AFTER
            self._write_problem, self._write_failures = f"write refused: {refusal}", FAILURES_THAT_COUNT
        except FieldError as error:
            self._write_failures += 1
            self._write_problem = f"write failed: {error}"

    async def _bring_in_step(self, now: datetime) -> None:
        """Writes what is due; where the device then holds a setpoint of another sign, it is armed again with the lease of that one. A
        setpoint that was refused or has to wait leaves the lease with the one it would replace."""
        held = self._book.held() if self._lease.is_armed else {}
        self._lease.lasts(self._lease_of(held or self._book.wanted))
        await self._write_due(now)
        self._lease.lasts(self._lease_of(self._book.held()))
        if self._keep_lease and self._book.is_whole and self._lease.is_armed and self._lease.asked_s != self._lease.seconds:
            await self._write(self._sequence((*self.page.lease.before, *self.page.lease.after)))
            self._lease.arm(now)
            await self._beat(now)

    def _lease_of(self, commands: Mapping[str, float]) -> float:
        if not any(commands.values()):  # at rest either lease will do
            return self._lease.seconds
        return self._taking_lease_s if max(commands.values()) > 0.0 else self._lease_s

    async def _write_due(self, now: datetime) -> None:
        is_arming = self._keep_lease and self._lease.needs_arming(now) and not self._is_arming_refused
        writes = self._book.writes(now, self._words, is_arming)
        if not self._book.is_whole:  # a wish that cannot be said: what the device was told before must not live on, its lease lapses
            await self._send(writes, now)
            return
        if is_arming:
            await self._write(self._sequence(self.page.lease.before))
        is_taken = await self._send(writes, now)
        if is_arming and (is_taken or not self.page.lease.after):  # else what the device held before would act again
            await self._write(self._sequence(self.page.lease.after))
            self._lease.arm(now)
        elif is_arming or writes:  # until it takes one, without a lease that would keep alive what the device held before
            self._is_arming_refused = not is_taken and (is_arming or self._is_arming_refused)
        await self._beat(now)

    async def _beat(self, now: datetime) -> None:
        if self._keep_lease and self._lease.needs_beat(now):
            await self._write([self._lease.next_beat()])
            self._lease.feed(now)

    async def _send(self, writes: list[Write], now: datetime) -> bool:
        """Writes commands; False when the device refused one."""
        self._is_let_go = self._is_let_go and not writes
        for write in writes:
            self._book.note_sent(write, now, is_acknowledged=False)
        try:
            await self._write([(write.command.point, write.registers) for write in writes])
        except Refusal as refusal:
            await self._send_one_by_one(writes, refusal)
            return False
        for write in writes:
            self._book.note_sent(write, self._clock.now(), is_acknowledged=True)
        return True

    async def _send_one_by_one(self, writes: list[Write], refusal: Refusal) -> None:
        """One refused command must not take the others with it."""
        for write in writes:
            try:
                if len(writes) == 1:
                    raise refusal
                await self._write([(write.command.point, write.registers)])
            except Refusal as why:
                self._book.note_refusal(write, str(why))
            else:
                self._book.note_sent(write, self._clock.now(), is_acknowledged=True)

    def _sequence(self, values: Sequence[tuple[str, float | str]]) -> Sequenced:
        registers = [(self.page.register(name), self._lease.asked_s if value == LEASE_SECONDS else float(value)) for name, value in values]
        return [(point, raw_to_registers(point, value if point.type == "float32" else round(value))) for point, value in registers]

    async def _write(self, writes: Sequenced) -> None:
        """Writes in order, neighbours in one request where the device takes several registers at once."""
        for address, registers in _merged(writes, self.page.write_function):
            self.write_count += 1
            await self.link.write(self.unit_id, address, registers, self.page.write_function)


def _polled_points(page: Page) -> list[Point]:
    needed = [n for p in (*page.points, *(c.point for c in page.commands)) for n in (p.scale_factor, p.quality)]
    helpers = {name for name in (*needed, page.lease.enable) if name is not None}
    return [*page.points, *(page.read_back_point(c) for c in page.commands), *(page.register(name) for name in sorted(helpers))]


def _merged(writes: Sequenced, function: int) -> list[tuple[int, list[int]]]:
    merged: list[tuple[int, list[int]]] = []
    for point, registers in writes:
        if merged and function == 16 and merged[-1][0] + len(merged[-1][1]) == point.address:
            merged[-1][1].extend(registers)
        else:
            merged.append((point.address, list(registers)))
    return merged


def _points_inside(page: Page, block: Block) -> tuple[list[tuple[str, Point]], list[tuple[str, Point]]]:
    """Readings, and read-backs of commands, that a block holds; with their names."""
    points = [(p.name, p) for p in page.points if _is_inside(p, block)]
    return points, [(c.name, p) for c in page.commands if _is_inside(p := page.read_back_point(c), block)]


def _is_inside(point: Point, block: Block) -> bool:
    return point.table == block.table and block.address <= point.address and point.end <= block.address + block.count
