"""One Modbus/TCP connection. An answer is evidence only after its unit, function, count, echo and transaction were checked.

pymodbus takes as success an answer with fewer registers, another function code, another write echo or transaction id 0, and waits
the whole time-out on a connection known dead; it never retries a first connect and doubles its own back-off up to five minutes. So: no
retries and no reconnect of its own, our deadline, our checks, and the socket is closed after every doubtful exchange, because a late
answer could otherwise be taken for the answer to the next question.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import ModbusPDU

from ems.errors import DeviceLied, DeviceRefused, DeviceSilent, FieldError

logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # an absent device would fill the log; its trouble is in the image

READ_FUNCTIONS = {"holding": 3, "input": 4}
MEANINGS = {
    1: "function not known",
    2: "no such register",
    3: "value not accepted",
    4: "device failure",
    5: "acknowledged, busy",
    6: "busy",
    10: "gateway path unavailable",
    11: "gateway target does not answer",
}
MAP_FAULTS = (1, 2, 3)  # asking again will not help


class Refusal(DeviceRefused):
    """A Modbus exception; `code` is its number."""

    def __init__(self, where: str, code: int) -> None:
        super().__init__(f"{where}: refused with exception {code} ({MEANINGS.get(code, 'unknown code')})")
        self.code = code

    @property
    def is_map_fault(self) -> bool:
        """True when the page asks for what the device does not have."""
        return self.code in MAP_FAULTS


class NotConnected(DeviceSilent):
    """The connection is down and it is too early to try again."""


class NotInCharge(DeviceSilent):
    """This process may not write now; nothing was sent."""


class Link:
    """A connection that opens itself when needed and closes itself when in doubt. Times are wall seconds."""

    def __init__(
        self,
        host: str,
        port: int,
        rng: random.Random,
        deadline_s: float = 0.4,
        connect_s: float = 1.0,
        backoff_s: tuple[float, float] = (0.2, 5.0),
    ) -> None:
        self.host, self.port = host, port
        self.deadline_s = deadline_s
        self.generation = 0  # counts connections: a new one may be a device that was restarted
        self.may_write: Callable[[], bool] = lambda: True  # asked with the connection open, immediately before the frame goes out
        self._connect_s = connect_s
        self._backoff_s = backoff_s
        self._rng = rng
        self._lock = asyncio.Lock()
        self._client: AsyncModbusTcpClient | None = None
        self._lost: asyncio.Future[str] | None = None  # why the exchange cannot end well
        self._wait_s = 0.0
        self._next_try_s = 0.0
        self._received = b""
        self._last_tid = rng.randrange(1, 65000)  # of pymodbus; a restarted process does not begin where the one before did

    async def open(self) -> int:
        """Connects where needed; the number of the connection. Raises DeviceSilent."""
        async with self._lock:
            await self._connected()
            return self.generation

    async def read(self, unit_id: int, table: str, address: int, count: int) -> list[int]:
        """`count` registers from `address`; raises DeviceSilent, DeviceLied or Refusal."""
        where = f"{table} {address}+{count}"

        def ask(client: AsyncModbusTcpClient) -> Awaitable[ModbusPDU]:
            read = client.read_holding_registers if table == "holding" else client.read_input_registers
            return read(address, count=count, device_id=unit_id)

        async with self._lock:
            answer = await self._exchange(ask, where, unit_id, READ_FUNCTIONS[table])
            if len(answer.registers) != count:
                raise self._doubt(DeviceLied(f"{where}: answered {len(answer.registers)} registers instead of {count}"))
        return list(answer.registers)

    async def write(self, unit_id: int, address: int, registers: Sequence[int], function: int = 16) -> None:
        """Writes registers with function 16 (or one with 6) and checks the echo; DeviceSilent means the outcome is unknown."""
        where = f"write {address}+{len(registers)}"

        def ask(client: AsyncModbusTcpClient) -> Awaitable[ModbusPDU]:
            if not self.may_write():
                raise NotInCharge(f"{where}: not sent, another process is in charge or this one was paused")
            if function == 6:
                return client.write_register(address, registers[0], device_id=unit_id)
            return client.write_registers(address, list(registers), device_id=unit_id)

        async with self._lock:
            answer = await self._exchange(ask, where, unit_id, function)
            echo = (answer.address, answer.registers[0]) if function == 6 else (answer.address, answer.count)
            if echo != (address, registers[0] if function == 6 else len(registers)):
                raise self._doubt(DeviceLied(f"{where}: echo says {echo}"))

    def close(self) -> None:
        """Closes the connection; the next request opens a new one at once."""
        self._drop()
        self._wait_s = self._next_try_s = 0.0

    async def _exchange(
        self, ask: Callable[[AsyncModbusTcpClient], Awaitable[ModbusPDU]], where: str, unit_id: int, function: int
    ) -> ModbusPDU:
        client = await self._connected()
        self._received = b""
        task = asyncio.ensure_future(ask(client))
        watched: set[asyncio.Future[Any]] = {task} if self._lost is None else {task, self._lost}
        try:
            await asyncio.wait(watched, timeout=self.deadline_s, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            task.cancel()
            self._drop()
            raise
        if not task.done():
            task.cancel()
            raise self._doubt(self._why_no_answer(where, unit_id, client))
        try:
            answer = task.result()
        except ModbusException as error:
            raise self._doubt(DeviceSilent(f"{where}: {error}")) from None
        self._check(answer, where, unit_id, function)
        self._check_alone(answer.transaction_id, where)
        self._wait_s = 0.0
        return answer

    def _check(self, answer: ModbusPDU, where: str, unit_id: int, function: int) -> None:
        if answer.transaction_id == 0:
            raise self._doubt(DeviceLied(f"{where}: answered with transaction id 0"))
        if answer.dev_id != unit_id:
            raise self._doubt(DeviceLied(f"{where}: unit {answer.dev_id} answered for unit {unit_id}"))
        if answer.isError():
            raise Refusal(where, answer.exception_code)
        if answer.function_code != function:
            raise self._doubt(DeviceLied(f"{where}: answered function {answer.function_code} to function {function}"))

    def _check_alone(self, transaction: int, where: str) -> None:
        """There is one question at a time, so what arrived must be one frame and nothing else: the head of a frame that broke off and
        the beginning of the next make one with a good head and wrong values."""
        data = self._received
        if int.from_bytes(data[:2], "big") != transaction or len(data) != 6 + int.from_bytes(data[4:6], "big"):
            raise self._doubt(DeviceLied(f"{where}: answer does not belong to this question alone ({len(data)} bytes)"))

    def _why_no_answer(self, where: str, unit_id: int, client: AsyncModbusTcpClient) -> FieldError:
        data = self._received
        if self._lost is not None and self._lost.done():
            return DeviceSilent(f"{where}: {self._lost.result()} while waiting")
        if not data:
            return DeviceSilent(f"{where}: no answer within {self.deadline_s} s")
        if len(data) < 7 or len(data) < 6 + int.from_bytes(data[4:6], "big"):
            return DeviceSilent(f"{where}: incomplete answer within {self.deadline_s} s")
        if data[6] != unit_id:
            return DeviceLied(f"{where}: unit {data[6]} answered for unit {unit_id}")
        return DeviceLied(f"{where}: answer does not belong to this question")

    async def _connected(self) -> AsyncModbusTcpClient:
        if self._client is not None and self._client.connected and self._lost is not None and not self._lost.done():
            return self._client
        self._drop()
        waits_s = self._next_try_s - time.monotonic()
        if waits_s > 0:
            raise NotConnected(f"{self.host}:{self.port} not connected")
        self._schedule_next_try()
        return await self._connect()

    async def _connect(self) -> AsyncModbusTcpClient:
        client = AsyncModbusTcpClient(
            self.host,
            port=self.port,
            retries=0,
            reconnect_delay=0,
            timeout=self._connect_s,
            trace_packet=self._see,
            trace_connect=self._note_connection,
        )
        self._client = client
        self._lost = asyncio.get_running_loop().create_future()
        if not await client.connect():
            self._drop()
            raise DeviceSilent(f"{self.host}:{self.port} does not accept a connection")
        self._guard(client)
        client.ctx.next_tid = self._last_tid  # numbers go on: an answer of the connection before never fits a question of this one
        self.generation += 1
        return client

    def _guard(self, client: AsyncModbusTcpClient) -> None:
        """What cannot be decoded ends the exchange, quietly: pymodbus would let it escape into the event loop, a traceback per frame."""
        decode = client.ctx.callback_data

        def decoded(data: bytes, addr: tuple[Any, ...] | None = None) -> int:
            try:
                return decode(data, addr)
            except ModbusException:
                self._note_lost("an answer that cannot be decoded")
                return len(data)

        client.ctx.callback_data = decoded  # type: ignore[method-assign]

    def _schedule_next_try(self) -> None:
        first_s, longest_s = self._backoff_s
        self._wait_s = min(longest_s, max(first_s, 2 * self._wait_s))
        self._next_try_s = time.monotonic() + self._wait_s * self._rng.uniform(0.75, 1.25)

    def _doubt(self, error: FieldError) -> FieldError:
        self._drop()
        return error

    def _drop(self) -> None:
        client, self._client, self._lost = self._client, None, None
        if client is not None:
            self._last_tid = client.ctx.next_tid or self._last_tid
            client.close()

    def _see(self, is_sending: bool, data: bytes) -> bytes:
        if not is_sending and data:
            self._received = data
        return data

    def _note_connection(self, is_up: bool) -> None:
        if not is_up:
            self._note_lost("connection lost")

    def _note_lost(self, why: str) -> None:
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(why)
