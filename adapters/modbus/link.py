"""One Modbus/TCP connection. An answer is evidence only after its transaction, unit, function, count and echo were checked.

No retries: our deadline, our checks, our reconnect, and the socket is closed after every doubtful exchange, because a late answer could
otherwise be taken for the answer to the next question. There is one question at a time, so what arrives must be one frame and nothing
else: the head of a frame that broke off and the beginning of the next make one with a good head and wrong values.
"""

from __future__ import annotations

import asyncio
import random
import struct
import time
from collections.abc import Awaitable, Callable, Sequence

from adapters.modbus.wire import FIRST_BYTE, HEAD, TRANSACTIONS, Wire, dial, is_whole, read_question, transaction_of, write_question
from ems.errors import DeviceLied, DeviceRefused, DeviceSilent, FieldError

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
        dial: Callable[[str, int], Awaitable[Wire]] = dial,
    ) -> None:
        self.host, self.port = host, port
        self.deadline_s = deadline_s
        self.generation = 0  # counts connections: a new one may be a device that was restarted
        self.may_write: Callable[[], bool] = lambda: True  # asked with the connection open, immediately before the frame goes out
        self._connect_s = connect_s
        self._backoff_s = backoff_s
        self._dial = dial
        self._rng = rng
        self._lock = asyncio.Lock()
        self._wire: Wire | None = None
        self._wait_s = 0.0
        self._next_try_s = 0.0
        self._asked = rng.randrange(TRANSACTIONS)  # goes on over connections: an answer from before never fits a question of now

    async def open(self) -> int:
        """Connects where needed; the number of the connection. Raises DeviceSilent."""
        async with self._lock:
            await self._connected()
            return self.generation

    async def read(self, unit_id: int, table: str, address: int, count: int) -> list[int]:
        """`count` registers from `address`; raises DeviceSilent, DeviceLied or Refusal."""
        where = f"{table} {address}+{count}"
        async with self._lock:
            wire = await self._connected()
            answer = await self._exchange(wire, unit_id, read_question(table, address, count), where)
            if answer[1] != 2 * count or len(answer) != 2 + 2 * count:
                raise self._doubt(DeviceLied(f"{where}: answered {(len(answer) - 2) // 2} registers instead of {count}"))
        return list(struct.unpack(f">{count}H", answer[2:]))

    async def write(self, unit_id: int, address: int, registers: Sequence[int], function: int = 16) -> None:
        """Writes registers with function 16 (or one with 6) and checks the echo; DeviceSilent means the outcome is unknown."""
        where = f"write {address}+{len(registers)}"
        async with self._lock:
            wire = await self._connected()
            if not self.may_write():
                raise NotInCharge(f"{where}: not sent, another process is in charge or this one was paused")
            question = write_question(address, registers, function)
            answer = await self._exchange(wire, unit_id, question, where)
            if answer != question[:5]:  # both functions repeat their address, and what was written or how many
                raise self._doubt(DeviceLied(f"{where}: echo says {answer[1:].hex(' ')}"))

    def close(self) -> None:
        """Closes the connection; the next request opens a new one at once."""
        self._drop()
        self._wait_s = self._next_try_s = 0.0

    async def _exchange(self, wire: Wire, unit_id: int, question: bytes, where: str) -> bytes:
        """The answer to a question, from its function code on."""
        self._asked += 1
        try:
            data = await wire.ask(HEAD.pack(transaction_of(self._asked), 0, len(question) + 1, unit_id) + question, self.deadline_s)
        except asyncio.CancelledError:
            self._drop()
            raise
        if not is_whole(data):
            raise self._doubt(self._why_no_answer(wire, data, where))
        self._check_head(data, unit_id, where)
        if data[7] == question[0] | 0x80 and len(data) == 9 and data[8] < FIRST_BYTE:
            self._wait_s = 0.0
            raise Refusal(where, data[8])
        if data[7] != question[0]:
            raise self._doubt(DeviceLied(f"{where}: answered function {data[7]} to function {question[0]}"))
        self._wait_s = 0.0
        return data[7:]

    def _check_head(self, data: bytes, unit_id: int, where: str) -> None:
        """It belongs to this question, came alone, from the unit that was asked, and says something."""
        tid, protocol, length, unit = HEAD.unpack(data[:7].ljust(7, b"\0"))
        if tid == 0:
            raise self._doubt(DeviceLied(f"{where}: answered with transaction id 0"))
        if tid != transaction_of(self._asked) or protocol != 0:
            raise self._doubt(DeviceLied(f"{where}: answer does not belong to this question"))
        if length < 3 or len(data) != 6 + length:
            raise self._doubt(DeviceLied(f"{where}: answer does not belong to this question alone ({len(data)} bytes)"))
        if unit != unit_id:
            raise self._doubt(DeviceLied(f"{where}: unit {unit} answered for unit {unit_id}"))

    def _why_no_answer(self, wire: Wire, data: bytes, where: str) -> FieldError:
        if wire.why_lost:
            return DeviceSilent(f"{where}: {wire.why_lost} while waiting")
        if not data:
            return DeviceSilent(f"{where}: no answer within {self.deadline_s} s")
        return DeviceSilent(f"{where}: incomplete answer within {self.deadline_s} s")

    async def _connected(self) -> Wire:
        if self._wire is not None and not self._wire.why_lost:
            return self._wire
        self._drop()
        if self._next_try_s > time.monotonic():
            raise NotConnected(f"{self.host}:{self.port} not connected")
        self._schedule_next_try()
        try:
            self._wire = await asyncio.wait_for(self._dial(self.host, self.port), self._connect_s)
        except (OSError, TimeoutError):
            raise DeviceSilent(f"{self.host}:{self.port} does not accept a connection") from None
        self.generation += 1
        return self._wire

    def _schedule_next_try(self) -> None:
        first_s, longest_s = self._backoff_s
        self._wait_s = min(longest_s, max(first_s, 2 * self._wait_s))
        self._next_try_s = time.monotonic() + self._wait_s * self._rng.uniform(0.75, 1.25)

    def _doubt(self, error: FieldError) -> FieldError:
        self._drop()
        return error

    def _drop(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()
