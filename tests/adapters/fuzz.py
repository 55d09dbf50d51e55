"""Malformed and crossed frames by the million: no crash, and nothing is believed that is not the answer to the question.

    python tests/adapters/fuzz.py --frames 3000000 [--seed 1]

The link of the product talks to a device that sends spoilt frames, alone or in bursts, in pieces of any size, before, instead of or after
its answer, too late, or over the next connection. No socket is between them and no time passes (tests/adapters/test_fuzz.py does a sample
over real ones). Left out are frames that no client could tell from the truth: right transaction, unit, function and length with other data
in it (the checksum of TCP stands before those). Every answer is different, so that a late or crossed one is a wrong one.

Blocks of frames, one seed each; finished blocks are kept in out/fuzz until the code changes.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT))

from adapters.modbus.link import Link, Refusal  # noqa: E402
from adapters.modbus.wire import Wire  # noqa: E402
from ems.errors import FieldError  # noqa: E402
from tests.campaign.loop import Time, VirtualLoop  # noqa: E402

BLOCK = 60_000
KEPT = CHECKOUT / "out/fuzz"
DEADLINE_S = 0.4
Result = TypeVar("Result")
CODE = ("adapters/modbus/link.py", "adapters/modbus/wire.py", "tests/adapters/fuzz.py")


@dataclass(frozen=True)
class Question:
    """What the link asked: its frame taken apart."""

    tid: int
    unit: int
    words: bytes  # from the function code on
    number: int
    refusal: int = 0  # the exception the device answers with, 0 when it does as it is asked

    @property
    def function(self) -> int:
        return self.words[0]

    @property
    def count(self) -> int:
        """Registers asked for or written."""
        return 1 if self.function == 6 else int.from_bytes(self.words[3:5], "big")

    def truth(self) -> list[int]:
        """What stands in the registers at this question, another time something else."""
        return [(self.number * 7919 + k * 104729) & 0xFFFF for k in range(self.count)]

    def answer(self) -> bytes:
        """The one right frame."""
        if self.refusal:
            return frame(self.tid, self.unit, bytes([self.function | 0x80, self.refusal]))
        return frame(self.tid, self.unit, reading(self.function, self.truth()) if self.function in (3, 4) else self.words[:5])


@dataclass
class Tally:
    """What a block counted."""

    seed: int
    frames: int = 0
    believed: int = 0
    refused: int = 0
    errors: int = 0
    cpu_s: float = 0.0
    kinds: Counter[str] = field(default_factory=Counter)


def frame(tid: int, unit: int, words: bytes, protocol: int = 0, length: int | None = None) -> bytes:
    """One frame."""
    return struct.pack(">HHHB", tid, protocol, len(words) + 1 if length is None else length, unit) + words


def reading(function: int, values: Sequence[int]) -> bytes:
    """The words of an answer with registers."""
    return struct.pack(f">BB{len(values)}H", function, min(255, 2 * len(values)), *values)


def other(rng: random.Random, than: int, below: int) -> int:
    """Another number."""
    return (than + rng.randrange(1, below)) % below


def values_of(rng: random.Random, q: Question) -> bytes:
    """The words of a well-formed answer with other values: for a write, with another echo."""
    if q.function in (3, 4):
        return reading(q.function, [rng.randrange(65536) for _ in range(q.count)])
    return q.words[:1] + struct.pack(">HH", *rng.choice([(other(rng, 200, 65536), q.count), (rng.randrange(65536), rng.randrange(65536))]))


def flipped(rng: random.Random, q: Question) -> bytes:
    """The answer with one of its first nine bytes turned into another: what follows cannot be told from the truth."""
    data = bytearray(q.answer())
    data[rng.randrange(8 if q.refusal else 9)] ^= rng.randrange(1, 256)
    return bytes(data)


KINDS: dict[str, Callable[[random.Random, Question, bytes], bytes]] = {
    "noise": lambda rng, q, before: rng.randbytes(rng.randrange(1, 60)),
    "another question's": lambda rng, q, before: frame(other(rng, q.tid, 65536), q.unit, values_of(rng, q)),
    "the answer before": lambda rng, q, before: before,
    "transaction 0": lambda rng, q, before: frame(0, q.unit, values_of(rng, q)),
    "another unit": lambda rng, q, before: frame(q.tid, other(rng, q.unit, 256), values_of(rng, q)),
    "another function": lambda rng, q, before: frame(q.tid, q.unit, bytes([other(rng, q.function, 128)]) + values_of(rng, q)[1:]),
    "too few registers": lambda rng, q, before: frame(q.tid, q.unit, reading(q.function, [7] * rng.randrange(q.count))),
    "too many registers": lambda rng, q, before: frame(q.tid, q.unit, reading(q.function, [7] * (q.count + rng.randrange(1, 90)))),
    "odd byte count": lambda rng, q, before: frame(q.tid, q.unit, bytes([q.function, 3]) + rng.randbytes(3)),
    "lying byte count": lambda rng, q, before: frame(q.tid, q.unit, bytes([q.function, rng.randrange(256)]) + rng.randbytes(5)),
    "another protocol": lambda rng, q, before: frame(q.tid, q.unit, values_of(rng, q), protocol=rng.randrange(1, 65536)),
    "absurd length": lambda rng, q, before: frame(q.tid, q.unit, values_of(rng, q), length=rng.choice([0, 1, 2, 300, 60000])),
    "another's refusal": lambda rng, q, before: frame(other(rng, q.tid, 65536), q.unit, bytes([q.function | 0x80, rng.randrange(256)])),
    "another function's refusal": lambda rng, q, before: frame(q.tid, q.unit, bytes([other(rng, q.function, 128) | 0x80, 2])),
    "broken off": lambda rng, q, before: frame(q.tid, q.unit, values_of(rng, q))[: rng.randrange(1, 9)],
    "empty": lambda rng, q, before: frame(q.tid, q.unit, b""),
    "one byte turned": lambda rng, q, before: flipped(rng, q),
    "broken off and the next": lambda rng, q, before: q.answer()[: rng.randrange(7, 9)] + before,
}


class Device(asyncio.Transport):
    """The other end of one connection: takes questions, sends what the dice say."""

    def __init__(self, bench: Bench, wire: Wire) -> None:
        super().__init__()
        self.bench, self.wire, self.is_open = bench, wire, True
        self.busy_until_s = 0.0

    def write(self, data: bytes) -> None:  # type: ignore[override]
        """A question arrives."""
        tid, _, length, unit = struct.unpack(">HHHB", data[:7])
        assert len(data) == 6 + length, "the link sent half a question"
        rng, number = self.bench.rng, self.bench.number + 1
        self.bench.asked(Question(tid, unit, bytes(data[7:]), number, rng.randrange(1, 12) if rng.random() < 0.1 else 0), self)

    def abort(self) -> None:
        """The link has had enough."""
        if self.is_open:
            self.is_open = False
            asyncio.get_running_loop().call_soon(self.wire.connection_lost, None)

    def send_later(self, pause_s: float, data: bytes) -> None:
        """Sends bytes after everything sent before: a stream keeps its order."""
        loop = asyncio.get_running_loop()
        self.busy_until_s = max(loop.time(), self.busy_until_s) + 1e-6 + pause_s
        loop.call_at(self.busy_until_s, self.send, data)

    def send(self, data: bytes) -> None:
        """Bytes reach the link; those of a connection that is gone reach nobody."""
        if self.is_open:
            self.wire.data_received(data)


class Bench:
    """One link and its device for one block."""

    def __init__(self, seed: int) -> None:
        self.rng, self.tally = random.Random(seed), Tally(seed)
        self.number = 0
        self.truth_sent = False
        self.refusal = 0
        self.last: Device | None = None
        self._before = b""
        self._names = sorted(KINDS)
        self.link = Link("nowhere", 0, random.Random(seed), DEADLINE_S, backoff_s=(0.0, 0.0), dial=self._dial)

    async def _dial(self, host: str, port: int) -> Wire:
        wire = Wire()
        self.last = Device(self, wire)
        wire.connection_made(self.last)
        return wire

    def asked(self, question: Question, device: Device) -> None:
        """Answers: spoilt frames, the right one among them or not, cut into pieces, some of them too late."""
        rng, self.number = self.rng, question.number
        frames = [self._spoilt(question) for _ in range(rng.choice((0, 1, 1, 1, 1, 1, 1, 2, 3, rng.randrange(1, 30))))]
        answer = question.answer()
        self.truth_sent, self.refusal = rng.random() < 0.4, question.refusal
        if self.truth_sent:
            frames.insert(rng.choice((0, len(frames))), answer)
        self._before = answer
        for piece in pieces(rng, frames):
            device.send_later(rng.choice((0.0, 0.0, 0.0, 0.01, 1.2 * DEADLINE_S if rng.random() < 0.1 else 0.0)), piece)
        if rng.random() < 0.05:
            asyncio.get_running_loop().call_at(device.busy_until_s, device.abort)

    def _spoilt(self, question: Question) -> bytes:
        name = self.rng.choice(self._names)
        data = KINDS[name](self.rng, question, self._before)
        if not data or data == question.answer():
            return b""
        self.tally.frames += 1
        self.tally.kinds[name] += 1
        return data

    async def run(self, frames: int) -> Tally:
        """Asks until so many spoilt frames were sent; AssertionError when a wrong one was believed."""
        begun_s = time.process_time()
        while self.tally.frames < frames:
            try:
                await self._ask()
            except Refusal as said:
                self.tally.refused += 1
                assert self.truth_sent and said.code == self.refusal, f"seed {self.tally.seed}: a refusal that was none was believed"
            except FieldError:
                self.tally.errors += 1
            else:
                self.tally.believed += 1
                assert self.truth_sent and not self.refusal, f"seed {self.tally.seed}: question {self.number} had no such answer"
        self.link.close()
        self.tally.cpu_s = time.process_time() - begun_s
        return self.tally

    async def _ask(self) -> None:
        rng = self.rng
        unit, address, kind = rng.randrange(1, 248), rng.randrange(60000), rng.random()
        if kind < 0.7:
            count = rng.choice((1, 2, 4, rng.randrange(1, 126)))
            values = await self.link.read(unit, rng.choice(("holding", "input")), address, count)
            truth = Question(0, 0, struct.pack(">BHH", 3, 0, count), self.number).truth()
            assert values == truth, f"seed {self.tally.seed}: a wrong value was believed at question {self.number}"
        elif kind < 0.85:
            await self.link.write(unit, address, [rng.randrange(65536)], 6)
        else:
            await self.link.write(unit, address, [rng.randrange(65536) for _ in range(rng.randrange(1, 20))])


def pieces(rng: random.Random, frames: Sequence[bytes]) -> Iterator[bytes]:
    """The frames as they arrive: each alone, all together, or cut anywhere."""
    how = rng.randrange(4)
    if how == 0:
        yield from (f for f in frames if f)
        return
    data = b"".join(frames)
    longest = len(data) if how == 1 else rng.choice((3, 10, 50))
    while data:
        cut = longest if how == 1 else rng.randrange(1, longest + 1)
        yield data[:cut]
        data = data[cut:]


class _Jump:
    """Instead of waiting, time goes on."""

    def __init__(self, now: Time) -> None:
        self.now = now

    def select(self, timeout: float | None) -> list[object]:
        assert timeout is not None, "nothing would ever happen again"
        self.now.s += max(0.0, timeout)
        return []


def run_at_once(work: Coroutine[Any, Any, Result]) -> Result:
    """Runs to the end in a loop in which no time passes; AssertionError when something crashed in it."""
    now = Time()
    loop = VirtualLoop(now)
    loop._selector = _Jump(now)  # type: ignore[assignment]
    crashes: list[str] = []
    loop.set_exception_handler(lambda _, context: crashes.append(str(context.get("exception") or context["message"])))
    try:
        found = loop.run_until_complete(work)
    finally:
        loop.close()
    assert crashes == [], crashes[0]
    return found


def run_block(seed: int, frames: int = BLOCK) -> Tally:
    """One block in a loop of its own."""
    return run_at_once(Bench(seed).run(frames))


def run_blocks(frames: int, seed: int) -> Iterator[Tally]:
    """All blocks from a seed on; finished ones as they were kept."""
    digest = hashlib.sha256(b"".join((CHECKOUT / name).read_bytes() for name in CODE)).hexdigest()[:16]
    folder = KEPT / digest
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(seed, seed + -(-frames // BLOCK)):
        path = folder / f"{k}.json"
        if not path.exists():
            draft = path.with_suffix(".new")
            draft.write_text(json.dumps(vars(run_block(k))))
            draft.replace(path)
        kept = json.loads(path.read_text())
        yield Tally(**{**kept, "kinds": Counter(kept["kinds"])})


def summary(tallies: Sequence[Tally]) -> str:
    """All blocks in one line."""
    kinds = sum((t.kinds for t in tallies), Counter())
    counted = {name: sum(getattr(t, name) for t in tallies) for name in ("frames", "errors", "believed", "refused")}
    return (
        f"{counted['frames']:,} spoilt frames of {len(kinds)} kinds (seeds {tallies[0].seed} to {tallies[-1].seed}): 0 crashes, 0 wrong "
        f"values accepted; {counted['errors']:,} exchanges ended by one, {counted['believed']:,} right answers believed, "
        f"{counted['refused']:,} refusals; {sum(t.cpu_s for t in tallies):.0f} s of processor time"
    )


def main(argv: Sequence[str]) -> int:
    """Runs what is missing, with progress."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--frames", type=int, default=3_000_000)
    ask.add_argument("--seed", type=int, default=1)
    given = ask.parse_args(argv)
    if given.frames < 1 or given.seed < 0:
        print("frames must be above 0, the seed at least 0", file=sys.stderr)
        return 2
    tallies: list[Tally] = []
    for tally in run_blocks(given.frames, given.seed):
        tallies.append(tally)
        if len(tallies) % 5 == 0:
            print(f"{sum(t.frames for t in tallies):,} of {given.frames:,} frames", flush=True)
    at = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=CHECKOUT, capture_output=True, text=True, check=False).stdout.strip()
    print(f"{summary(tallies)}; commit {at}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
