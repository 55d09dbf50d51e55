"""One Modbus/TCP connection, one question at a time: what goes out, and when what came in is an answer.

Only the four functions a device page can ask for are known here (3, 4, 6, 16). A library stands between the bytes and the question in other
places; here it would hide them, and the bytes are the evidence: pymodbus takes as success an answer with fewer registers, another function
code, another write echo or transaction id 0. It speaks on the other side of the same wire, in the simulators.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence

READ_FUNCTIONS = {"holding": 3, "input": 4}
HEAD = struct.Struct(">HHHB")  # transaction, protocol, bytes that follow, unit
LONGEST = 260  # bytes of a whole frame
TRANSACTIONS = 56 * 256  # as many questions have numbers of their own
FIRST_BYTE = 0x91  # of the lowest transaction


class Wire(asyncio.Protocol):
    """A connection. `answer` is set while a question is open; `why_lost` says why the connection is of no use any more."""

    def __init__(self) -> None:
        self.received = b""
        self.why_lost = ""
        self._transport: asyncio.Transport | None = None
        self._arrived: asyncio.Future[None] | None = None

    async def ask(self, frame: bytes, deadline_s: float) -> bytes:
        """Sends a question; what came back until the first frame was whole, the connection broke, or the deadline passed."""
        loop = asyncio.get_running_loop()
        self.received, arrived = b"", loop.create_future()
        self._arrived = arrived
        alarm = loop.call_later(deadline_s, self._end)
        try:
            if self._transport is not None:
                self._transport.write(frame)
            await arrived
        finally:
            alarm.cancel()
            self._arrived = None
        return self.received

    def close(self) -> None:
        """Ends the connection and the question that is open."""
        self._lose("closed")
        if self._transport is not None:
            self._transport.abort()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Bytes come in; those that nobody asked for make the connection one of no use."""
        if self._arrived is None or self._arrived.done():
            self._lose("bytes came that nobody asked for")
            return
        self.received += data
        if is_whole(self.received):
            self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        """The other side is gone."""
        self._lose("connection lost")

    def _lose(self, why: str) -> None:
        self.why_lost = self.why_lost or why
        self._end()

    def _end(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)


async def dial(host: str, port: int) -> Wire:
    """Opens a connection; OSError when nobody listens."""
    _, wire = await asyncio.get_running_loop().create_connection(Wire, host, port)
    return wire


def is_whole(data: bytes) -> bool:
    """True when at least one frame is complete, or can never become one."""
    if len(data) < 6:
        return False
    length = int.from_bytes(data[4:6], "big")
    return len(data) >= 6 + length or length < 2 or 6 + length > LONGEST or data[2:4] != b"\0\0"


def transaction_of(number: int) -> int:
    """The transaction of the n-th question. Its first byte is odd and high: should a frame break off and another follow, the beginning of
    that one is neither a function we ask for, nor a count of bytes, nor the code of a refusal."""
    return (FIRST_BYTE + 2 * (number % TRANSACTIONS // 256)) << 8 | number % 256


def read_question(table: str, address: int, count: int) -> bytes:
    """The words of a read request, from its function code on."""
    return struct.pack(">BHH", READ_FUNCTIONS[table], address, count)


def write_question(address: int, registers: Sequence[int], function: int) -> bytes:
    """The words of a write request: one register with function 6, several with 16."""
    if function == 6:
        return struct.pack(">BHH", 6, address, registers[0])
    return struct.pack(f">BHHB{len(registers)}H", 16, address, len(registers), 2 * len(registers), *registers)
