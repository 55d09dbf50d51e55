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

from adapters.modbus.memory import PageRegisters
from adapters.modbus.page import Page
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
        refused = None if self.fault is Fault.DEAF else self._registers.store(address, list(values))
        return None if refused is None else ExcCodes(refused)


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
