"""A TCP proxy in front of a simulated device that does to Modbus frames what networks and gateways do. Standard library only."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from enum import StrEnum


class ProxyFault(StrEnum):
    """What is done to the answers, or to the connection."""

    DELAY = "delay"  # answers come late, past any sensible deadline
    DROP = "drop"  # requests arrive, answers are swallowed
    CUT = "cut"  # every connection is reset, new ones too
    HALF_OPEN = "half_open"  # connections stay open, nothing passes either way
    GARBAGE = "garbage"  # random bytes before every answer
    CROSSED = "crossed"  # an answer carries the transaction of another question
    STALE = "stale"  # the answer before this one, with the transaction of this one
    WRONG_UNIT = "wrong_unit"  # another unit answers
    EXCEPTION = "exception"  # every request is answered with exception 4
    TRUNCATED = "truncated"  # the second half of an answer never comes
    DRIP = "drip"  # one byte at a time


DELAY_S = 0.7
DRIP_S = 0.1
HEADER = 7  # transaction, protocol, length, unit


class FaultProxy:
    """Listens on a port of 127.0.0.1 and passes frames to `port`. `fault` may change at any time; None passes everything."""

    def __init__(self, port: int, rng: random.Random) -> None:
        self.fault: ProxyFault | None = None
        self.port = 0
        self._to, self._rng = port, rng
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._before = b""

    async def start(self) -> None:
        """Listens; `port` is then the real one."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stops listening and drops every connection."""
        self.reset()
        if self._server is not None:
            self._server.close()

    def reset(self) -> None:
        """Resets every connection that is open."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.fault is ProxyFault.CUT:
            writer.transport.abort()
            return
        self._writers.add(writer)
        try:
            device_reader, device_writer = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.transport.abort()
            return
        self._writers.add(device_writer)
        both = [self._pass(reader, device_writer, False), self._pass(device_reader, writer, True)]
        with suppress(OSError, asyncio.IncompleteReadError):
            await asyncio.gather(*both)
        for end in (writer, device_writer):
            self._writers.discard(end)
            end.transport.abort()

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, is_answer: bool) -> None:
        """Frame by frame, until one end is gone."""
        while True:
            head = await source.readexactly(HEADER)
            frame = head + await source.readexactly(int.from_bytes(head[4:6], "big") - 1)
            if self.fault is ProxyFault.CUT:
                self.reset()
                return
            for part, wait_s in self._treated(frame) if is_answer else self._asked(frame):
                await asyncio.sleep(wait_s)
                sink.write(part)
                await sink.drain()

    def _asked(self, frame: bytes) -> list[tuple[bytes, float]]:
        return [] if self.fault is ProxyFault.HALF_OPEN else [(frame, 0.0)]

    def _treated(self, frame: bytes) -> list[tuple[bytes, float]]:
        """The parts of an answer as they go out, each after a wait in wall seconds."""
        before, self._before = self._before, frame
        match self.fault:
            case ProxyFault.DELAY:
                return [(frame, DELAY_S)]
            case ProxyFault.DROP | ProxyFault.HALF_OPEN:
                return []
            case ProxyFault.GARBAGE:
                return [(self._rng.randbytes(self._rng.randrange(1, 40)) + frame, 0.0)]
            case ProxyFault.CROSSED:
                return [((int.from_bytes(frame[:2], "big") ^ 0x0101).to_bytes(2, "big") + frame[2:], 0.0)]
            case ProxyFault.STALE:
                return [(frame[:2] + before[2:] if before else frame, 0.0)]
            case ProxyFault.WRONG_UNIT:
                return [(frame[:6] + bytes([frame[6] ^ 0x40]) + frame[7:], 0.0)]
            case ProxyFault.EXCEPTION:
                return [(frame[:4] + b"\x00\x03" + frame[6:7] + bytes([frame[7] | 0x80, 4]), 0.0)]
            case ProxyFault.TRUNCATED:
                return [(frame[: len(frame) // 2], 0.0)]
            case ProxyFault.DRIP:
                return [(frame[k : k + 1], DRIP_S) for k in range(len(frame))]
        return [(frame, 0.0)]
