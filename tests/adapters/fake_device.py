"""A Modbus/TCP device that misbehaves on purpose: it hands every request to a script that writes raw bytes."""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass


@dataclass(frozen=True)
class Request:
    """One request as it came: transaction, unit, function, address, and the count or value that follows."""

    tid: int
    unit: int
    function: int
    address: int
    count: int
    number: int  # requests of this device so far, from 1


Script = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


def frame(tid: int, unit: int, pdu: bytes) -> bytes:
    return struct.pack(">HHHB", tid, 0, len(pdu) + 1, unit) + pdu


def registers(function: int, values: list[int]) -> bytes:
    return struct.pack(f">BB{len(values)}H", function, 2 * len(values), *values)


def good_answer(request: Request) -> bytes:
    """What an honest device says: registers that count up from their address, or the echo of a write."""
    if request.function in (3, 4):
        pdu = registers(request.function, [request.address + i for i in range(request.count)])
    else:
        pdu = struct.pack(">BHH", request.function, request.address, request.count)
    return frame(request.tid, request.unit, pdu)


async def honest(request: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(good_answer(request))


@asynccontextmanager
async def fake_device(script: Script, port: int = 0) -> AsyncIterator[int]:
    """The port of a device that follows the script."""
    seen = 0
    connections: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        connections.append(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readexactly(7)
                tid, _, length, unit = struct.unpack(">HHHB", head)
                pdu = await reader.readexactly(length - 1)
                function, address, count = struct.unpack(">BHH", pdu[:5])
                seen += 1
                await script(Request(tid, unit, function, address, count, seen), writer)

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in connections:
            writer.close()
        await server.wait_closed()
