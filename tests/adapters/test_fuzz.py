"""Malformed and crossed frames: no crash, and no value is believed that is not the answer to the question.

Left out are frames that no client could tell from the truth: right transaction, unit, function and length with other data in it (the
checksum of TCP stands before those). Each answer of the device is different, so that a late or crossed one is a wrong one.
"""

from __future__ import annotations

import asyncio
import random
import struct

import pytest

from adapters.modbus.link import Link, NotConnected
from ems.errors import FieldError
from tests.adapters.fake_device import Request, fake_device, frame, registers

COUNT = 4
SPOILT = 0.8  # of the answers; the others come alone
BURST = 60  # spoilt frames before an answer, at most


def truth(request: Request) -> list[int]:
    """What the device answers to its n-th request."""
    return [(request.number * 7919 + k * 104729) & 0xFFFF for k in range(COUNT)]


def spoilt(rng: random.Random, request: Request, before: bytes) -> bytes:
    """One frame that is not the answer."""
    values = [rng.randrange(65536) for _ in range(COUNT)]
    other_tid = (request.tid + rng.randrange(1, 65535)) & 0xFFFF
    good = registers(request.function, values)
    unit = (request.unit + rng.randrange(1, 255)) & 0xFF
    kinds = (
        lambda: rng.randbytes(rng.randrange(1, 60)),
        lambda: frame(other_tid, request.unit, good),  # the answer to another question
        lambda: before,  # the answer before, once more
        lambda: frame(0, request.unit, good) if request.tid else b"",
        lambda: frame(request.tid, unit, good),
        lambda: frame(request.tid, request.unit, registers(rng.choice([1, 2, 4, 6, 16, 23]), values)),
        lambda: frame(request.tid, request.unit, registers(request.function, values[: rng.randrange(COUNT)])),
        lambda: frame(request.tid, request.unit, registers(request.function, values + values)),
        lambda: frame(request.tid, request.unit, struct.pack(">BB", request.function, 3) + rng.randbytes(3)),
        lambda: frame(request.tid, request.unit, struct.pack(">BB", request.function, rng.randrange(256)) + rng.randbytes(5)),
        lambda: struct.pack(">HHHB", request.tid, rng.randrange(1, 65536), 11, request.unit) + good,
        lambda: struct.pack(">HHHB", request.tid, 0, rng.choice([0, 1, 2, 60000]), request.unit) + good,
        lambda: frame(other_tid, request.unit, bytes([request.function | 0x80, rng.randrange(256)])),
        lambda: frame(request.tid, request.unit, good)[: rng.randrange(1, 16)],
        lambda: frame(request.tid, request.unit, b""),
    )
    return rng.choice(kinds)()


async def trial(frames: int, seed: int, deadline_s: float) -> tuple[int, int, int]:
    """Spoilt frames sent, answers believed, errors; fails on a value that is not the answer to the question asked."""
    rng = random.Random(seed)
    sent = 0
    asked: list[int] = []
    before = b""

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal sent, before
        asked.append(request.number)
        burst = [spoilt(rng, request, before) for _ in range(rng.randrange(BURST) if rng.random() < SPOILT else 0)]
        sent += len(burst)
        before = frame(request.tid, request.unit, registers(request.function, truth(request)))
        writer.write(b"".join(burst) + before)

    believed = errors = 0
    async with fake_device(script) as port:
        link = Link("127.0.0.1", port, random.Random(seed), deadline_s=deadline_s, backoff_s=(0.0, 0.0))
        while sent < frames:
            try:
                values = await link.read(1, "holding", 40, COUNT)
            except NotConnected:
                await asyncio.sleep(0.0)
            except FieldError:
                errors += 1
            else:
                believed += 1
                assert values == truth(Request(0, 1, 3, 40, COUNT, asked[-1])), "a wrong value was believed"
        link.close()
    return sent, believed, errors


async def test_spoilt_frames_crash_nothing_and_make_no_value():
    sent, believed, errors = await trial(4000, 1, 0.02)
    assert sent >= 4000 and believed > 10 and errors > 100


@pytest.mark.slow
@pytest.mark.timeout(3600)
async def test_a_million_spoilt_frames_crash_nothing_and_make_no_value():
    sent, believed, errors = await trial(1_000_000, 2, 0.004)
    print(f"{sent} spoilt frames, {believed} answers believed and all true, {errors} errors")
    assert believed > 1000 and errors > 1000
