"""Serves a device page over Modbus/TCP: what the simulators speak, and what the conformance test talks to.

pymodbus does the framing; registers, refusals and faults are ours. Its own server loses the second of two requests that arrive together and
answers an unknown unit with the wrong exception, so requests are queued per connection here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from pymodbus.constants import ExcCodes
from pymodbus.exceptions import ModbusIOException, NoSuchIdException
from pymodbus.pdu import ExceptionResponse, ModbusPDU
from pymodbus.server import ModbusTcpServer
from pymodbus.server.requesthandler import ServerRequestHandler
from pymodbus.simulator import DataType, SimData, SimDevice
from pymodbus.transaction import TransactionManager

from adapters.modbus.page import Command, Page, Point
from adapters.modbus.registers import decode, encode, encode_missing, raw_to_registers, registers_to_raw
from ems.errors import FieldError

TABLES = {3: "holding", 4: "input", 6: "holding", 16: "holding"}


class Fault(StrEnum):
    """What a served device can be told to do wrong."""

    SILENT = "silent"  # takes requests, answers none
    SLOW = "slow"  # answers `slow_s` wall seconds late
    REFUSE = "refuse"  # answers every request with exception 4
    DEAF = "deaf"  # acknowledges writes and does not apply them
    FROZEN = "frozen"  # keeps answering what it answered when the fault began


class PageServer:
    """One device on one port. Must be built and started inside a running event loop.

    `read()` gives the present values by name: readings, commands as the device holds them, and, where it wants to, auxiliary registers
    in raw numbers. `write(name, value)` takes a command in kW and our sign, `lease_s` (the lease runs again for that many seconds) or
    `release` (let go now). A FieldError or ValueError raised by `write` is answered with exception 3: that is how a device refuses.
    """

    def __init__(
        self,
        page: Page,
        read: Callable[[], Mapping[str, float]],
        write: Callable[[str, float], None],
        host: str = "127.0.0.1",
        port: int = 0,
        unit_id: int = 1,
    ) -> None:
        self.page, self.host, self.port, self.unit_id = page, host, port, unit_id
        self.fault: Fault | None = None
        self.slow_s = 0.45
        self.write_count = 0  # write requests that arrived, applied or not
        self._registers = PageRegisters(page, read, write)
        self._server: _Server | None = None
        self._echo: tuple[int, ...] = ()

    async def start(self) -> None:
        """Listens; `port` is then the real one. OSError when the port is taken."""
        server = _Server(self)
        try:
            await server.serve_forever(background=True)
        except RuntimeError:
            raise OSError(f"{self.host}:{self.port} cannot be listened on") from None
        self._server = server
        transport: Any = server.transport
        self.port = transport.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stops listening and drops the connections."""
        if self._server is not None:
            self.drop_connections()
            await self._server.shutdown()
            self._server = None

    async def restart(self) -> None:
        """A device reboot: connections drop, auxiliary registers return to their defaults."""
        await self.stop()
        self._registers.reset()
        await self.start()

    def drop_connections(self) -> None:
        """Resets every open connection; new ones are accepted."""
        if self._server is not None:
            for connection in list(self._server.connections):
                connection.close()

    # What pymodbus asks of its data store.

    async def async_getValues(self, unit_id: int, function: int, address: int, count: int = 1) -> list[int] | ExcCodes:
        """Registers for a read request, or the exception to answer."""
        if unit_id != self.unit_id:
            raise NoSuchIdException(f"unit {unit_id}")
        if function not in TABLES:
            return ExcCodes.ILLEGAL_FUNCTION
        if function == 6:  # the echo of a write repeats what was written, not what the device made of it
            return list(self._echo)
        words = self._registers.words(TABLES[function], address, count, is_frozen=self.fault is Fault.FROZEN)
        return words if words is not None else ExcCodes.ILLEGAL_ADDRESS

    async def async_setValues(self, unit_id: int, function: int, address: int, values: Sequence[int]) -> ExcCodes | None:
        """Takes a write request; the exception to answer, or None."""
        if unit_id != self.unit_id:
            raise NoSuchIdException(f"unit {unit_id}")
        if TABLES.get(function) != "holding":
            return ExcCodes.ILLEGAL_FUNCTION
        self.write_count += 1
        self._echo = tuple(values)
        return None if self.fault is Fault.DEAF else self._registers.store(address, list(values))


class PageRegisters:
    """The register memory behind a page: readings come from `read`, everything written is checked, kept and passed to `write`."""

    def __init__(self, page: Page, read: Callable[[], Mapping[str, float]], write: Callable[[str, float], None]) -> None:
        self._page, self._read, self._write = page, read, write
        self._commands = {c.name: c for c in page.commands}
        self._image = {a + i: w for a, text in page.image for i, w in enumerate(_hex_words(text))}
        points = (*page.points, *page.registers, *(c.point for c in page.commands))
        self._owner = {(p.table, a): p for p in points for a in range(p.address, p.end)}
        self._span = {
            t: (min(a for s, a in self._owner if s == t), max(a for s, a in self._owner if s == t)) for t in {p.table for p in points}
        }
        self._stored: dict[str, tuple[int, ...]] = {}
        self._frozen: dict[str, float] | None = None
        self.reset()

    def reset(self) -> None:
        """Auxiliary registers back to what they hold after power-up."""
        self._stored = {
            p.name: raw_to_registers(p, p.default) for p in self._page.registers if p.default is not None and p.type != "string"
        }

    def words(self, table: str, address: int, count: int, is_frozen: bool = False) -> list[int] | None:
        """The registers asked for, None when the device does not have one of them or cannot say what is in it."""
        values = self._values(is_frozen)
        self._follow_lapse(values)
        found: list[int] = []
        while len(found) < count:
            here = address + len(found)
            words = self._words_at(table, here, values)
            if words is None:
                return None
            found.extend(words)
        return found[:count]

    def store(self, address: int, words: list[int]) -> ExcCodes | None:
        """Checks and applies a write; the exception to answer, or None."""
        taken: list[tuple[Point, tuple[int, ...]]] = []
        at = 0
        while at < len(words):
            point = self._owner.get(("holding", address + at))
            if point is None or point.address != address + at or not self._is_writable(point):
                return ExcCodes.ILLEGAL_ADDRESS
            if at + point.count > len(words):
                return ExcCodes.ILLEGAL_VALUE
            taken.append((point, tuple(words[at : at + point.count])))
            at += point.count
        return self._apply(taken)

    def _apply(self, taken: list[tuple[Point, tuple[int, ...]]]) -> ExcCodes | None:
        for point, registers in taken:
            command = self._commands.get(point.name)
            if command is not None and not self._is_accepted(command, registers):
                return ExcCodes.ILLEGAL_VALUE
        before = dict(self._stored)
        self._stored.update({point.name: registers for point, registers in taken})
        try:
            for name, value in self._effects({point.name for point, _ in taken}):
                self._write(name, value)
        except (FieldError, ValueError):
            self._stored = before
            return ExcCodes.ILLEGAL_VALUE
        return None

    def _effects(self, names: set[str]) -> list[tuple[str, float]]:
        """What a write means to the device: commands first, then its lease."""
        lease = self._page.lease
        if lease.enable in names and not self._raw(lease.enable):
            return [("release", 0.0)]
        if lease.counter in names and not self._raw(lease.counter):
            return [("release", 0.0)]
        is_enabled = lease.enable is None or bool(self._raw(lease.enable))
        told = set(self._commands) if lease.enable in names else names & set(self._commands)
        effects = [(name, self._command_value(name)) for name in self._commands if name in told and name in self._stored and is_enabled]
        keepers = {lease.enable, lease.counter, lease.seconds if lease.kind == "reversion_timer" else None}
        keeps_lease = bool(names & keepers) or (lease.kind == "vendor_timeout" and bool(effects))
        if keeps_lease and is_enabled:
            effects.append(("lease_s", self._raw(lease.seconds) if lease.seconds else lease.default_s))
        return effects

    def _values(self, is_frozen: bool) -> Mapping[str, float]:
        if not is_frozen:
            self._frozen = None
            return self._read()
        if self._frozen is None:
            self._frozen = dict(self._read())
        return self._frozen

    def _follow_lapse(self, values: Mapping[str, float]) -> None:
        """A device whose lease has run out no longer shows its function as enabled."""
        enable = self._page.lease.enable
        if enable is not None and values.get("lease_remaining_s", 1.0) <= 0.0:
            self._stored[enable] = raw_to_registers(self._page.register(enable), 0)

    def _words_at(self, table: str, address: int, values: Mapping[str, float]) -> tuple[int, ...] | None:
        """The registers from `address` to the end of the point that owns it."""
        point = self._owner.get((table, address))
        if point is None:
            if table == "holding" and address in self._image:
                return (self._image[address],)
            low, high = self._span.get(table, (1, 0))
            return (0,) if self._page.gaps == "zeros" and low <= address <= high else None
        registers = self._encoded(point, values)
        return None if registers is None else registers[address - point.address :]

    def _encoded(self, point: Point, values: Mapping[str, float]) -> tuple[int, ...] | None:
        if point in self._page.registers:
            return self._auxiliary(point, values)
        if point.name in values:
            return encode(point, values[point.name], self._exponent(point))
        if point.name in self._commands:
            return self._stored.get(point.name, (0,) * point.count)
        return encode_missing(point)

    def _auxiliary(self, point: Point, values: Mapping[str, float]) -> tuple[int, ...]:
        if point.name in values:
            return raw_to_registers(point, values[point.name] if point.type == "float32" else round(values[point.name]))
        stored = self._stored.get(point.name)
        return stored if stored is not None else tuple(self._image.get(a, 0) for a in range(point.address, point.end))

    def _exponent(self, point: Point) -> int:
        return 0 if point.scale_factor is None else int(self._raw(point.scale_factor))

    def _raw(self, name: str) -> float:
        point = self._page.register(name)
        return float(registers_to_raw(point, self._auxiliary(point, {})))

    def _command_value(self, name: str) -> float:
        point = self._commands[name].point
        value = decode(point, self._stored[name], self._exponent(point))
        if value is None:
            raise ValueError(name)
        return value

    def _is_accepted(self, command: Command, registers: tuple[int, ...]) -> bool:
        value = decode(command.point, registers, self._exponent(command.point))
        return value is not None and command.min_kw - 1e-6 <= value <= command.max_kw + 1e-6

    def _is_writable(self, point: Point) -> bool:
        lease = self._page.lease
        sequenced = {name for name, _ in (*lease.before, *lease.after, *lease.release)} | {lease.seconds, lease.counter, lease.enable}
        return point.name in self._commands or point.name in sequenced


class _Server(ModbusTcpServer):
    """pymodbus's listener with our data store and our connections."""

    def __init__(self, owner: PageServer) -> None:
        placeholder = SimDevice(id=owner.unit_id, simdata=SimData(0, values=0, datatype=DataType.REGISTERS))
        super().__init__(placeholder, address=(owner.host, owner.port))
        self.context: Any = owner
        self.owner = owner
        self.connections: set[_Connection] = set()

    def callback_new_connection(self) -> _Connection:
        """One queue of requests per connection."""
        return _Connection(self, None, None, None)


class _Connection(ServerRequestHandler):
    """Answers the requests of one connection in order, also when several arrive in one segment."""

    def __init__(self, server: _Server, trace_packet: None, trace_pdu: None, trace_connect: None) -> None:
        super().__init__(server, trace_packet, trace_pdu, trace_connect)
        self.owner = server.owner
        self._requests: asyncio.Queue[ModbusPDU] = asyncio.Queue(64)
        self._answering: asyncio.Task[None] | None = None

    def callback_connected(self) -> None:
        """Starts answering."""
        super().callback_connected()
        self.server.connections.add(self)
        self._answering = asyncio.ensure_future(self._answer_all())

    def callback_disconnected(self, exc: Exception | None) -> None:
        """Stops answering."""
        super().callback_disconnected(exc)
        self.server.connections.discard(self)
        if self._answering is not None:
            self._answering.cancel()

    def callback_data(self, data: bytes, addr: tuple | None = None) -> int:
        """Takes every complete request out of what has arrived."""
        used = 0
        while used < len(data):
            try:
                step = TransactionManager.callback_data(self, data[used:], addr)
            except ModbusIOException as error:
                refusal = ExceptionResponse(
                    error.fcode or 0, ExcCodes.ILLEGAL_FUNCTION, device_id=error.dev_id, transaction=error.transaction_id
                )
                self.pdu_send(refusal)
                return len(data)
            if not step or self.last_pdu is None:
                break
            used += step
            if not self._requests.full():
                self._requests.put_nowait(self.last_pdu)
        return used

    async def _answer_all(self) -> None:
        while True:
            request = await self._requests.get()
            if self.owner.fault is Fault.SLOW:
                await asyncio.sleep(self.owner.slow_s)
            if self.owner.fault is Fault.SILENT:
                continue
            answer = await self._answer(request)
            answer.transaction_id, answer.dev_id = request.transaction_id, request.dev_id
            if self.transport is not None:
                self.pdu_send(answer)

    async def _answer(self, request: ModbusPDU) -> ModbusPDU:
        if self.owner.fault is Fault.REFUSE:
            return ExceptionResponse(request.function_code, ExcCodes.DEVICE_FAILURE)
        try:
            return await request.datastore_update(self.server.context, request.dev_id)
        except NoSuchIdException:
            return ExceptionResponse(request.function_code, ExcCodes.GATEWAY_NO_RESPONSE)
        except FieldError:  # the simulated value does not fit its register
            return ExceptionResponse(request.function_code, ExcCodes.DEVICE_FAILURE)


def _hex_words(text: str) -> list[int]:
    data = bytes.fromhex(text)
    return [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]
