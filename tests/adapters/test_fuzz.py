"""Malformed and crossed frames: no crash, and no value is believed that is not the answer to the question.

In process with the dice of fuzz.py, and a sample over real sockets.
"""

from __future__ import annotations

import asyncio
import random

import pytest

from adapters.modbus.link import Link, NotConnected
from ems.errors import FieldError
from tests.adapters.fake_device import Request, fake_device
from tests.adapters.fuzz import BLOCK, KINDS, Question, run_block

COUNT = 4
SPOILT = 0.8  # of the answers; the others come alone
BURST = 60  # spoilt frames before an answer, at most


def question(request: Request) -> Question:
    """As the dice want it."""
    words = bytes([request.function]) + request.address.to_bytes(2, "big") + COUNT.to_bytes(2, "big")
    return Question(request.tid, request.unit, words, request.number)


async def trial(frames: int, seed: int, deadline_s: float) -> tuple[int, int, int]:
    """Spoilt frames sent over sockets, answers believed, errors; fails on a value that is not the answer to the question asked."""
    rng = random.Random(seed)
    sent = 0
    asked: list[Question] = []
    before = b""

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal sent, before
        asked.append(q := question(request))
        burst = [KINDS[rng.choice(sorted(KINDS))](rng, q, before) for _ in range(rng.randrange(BURST) if rng.random() < SPOILT else 0)]
        sent += len(burst)
        before = q.answer()
        writer.write(b"".join(data for data in burst if data != before) + before)

    believed = errors = 0
    async with fake_device(script) as port:
        link = Link("127.0.0.1", port, random.Random(seed), deadline_s=deadline_s, connect_s=20.0, backoff_s=(0.0, 0.0))
        while sent < frames:
            try:
                values = await link.read(1, "holding", 40, COUNT)
            except NotConnected:
                await asyncio.sleep(0.0)
            except FieldError:
                errors += 1
            else:
                believed += 1
                assert values == asked[-1].truth(), "a wrong value was believed"
        link.close()
    return sent, believed, errors


async def test_spoilt_frames_over_sockets_crash_nothing_and_make_no_value():
    sent, believed, errors = await trial(4000, 1, 2.0)
    assert sent >= 4000 and believed > 10 and errors > 100


def test_spoilt_frames_of_every_kind_crash_nothing_and_make_no_value():
    tally = run_block(1, 20_000)
    assert tally.frames >= 20_000 and set(tally.kinds) == set(KINDS)
    assert tally.believed > 300 and tally.refused > 30 and tally.errors > 5000


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_million_exchanges_with_spoilt_frames_crash_nothing_and_make_no_value():
    tallies = [run_block(seed) for seed in range(1, 51)]
    assert sum(t.frames for t in tallies) >= 50 * BLOCK and sum(t.errors for t in tallies) >= 1_000_000
