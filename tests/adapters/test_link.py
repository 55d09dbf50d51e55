"""Answers that are not evidence: each trap of a real device, on loopback."""

import asyncio
import random
import struct
import time

import pytest

from adapters.modbus.link import Link, NotConnected, Refusal
from ems.app.ports import PortRow
from ems.errors import DeviceLied, DeviceSilent, FieldError
from tests.adapters.fake_device import Request, Script, fake_device, frame, good_answer, honest, registers

DEADLINE_S = 0.12  # for an answer that will not come
PATIENT_S = 20.0  # for one that will: this machine may be busy


def link_to(port: int, deadline_s: float = PATIENT_S) -> Link:
    return Link("127.0.0.1", port, random.Random(3), deadline_s=deadline_s, connect_s=PATIENT_S, backoff_s=(0.01, 0.1))


def first(trouble: Script) -> Script:
    """Trouble at the first request, honest afterwards."""

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        await (trouble if request.number == 1 else honest)(request, writer)

    return script


def saying(make: object) -> Script:
    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(make(request))  # type: ignore[operator]

    return script


LIES = {
    "fewer registers": saying(lambda r: frame(r.tid, r.unit, registers(3, [1]))),
    "more registers": saying(lambda r: frame(r.tid, r.unit, registers(3, [1] * 7))),
    "an odd byte count": saying(lambda r: frame(r.tid, r.unit, b"\x03\x03\x00\x01\x00")),
    "another function": saying(lambda r: frame(r.tid, r.unit, registers(4, [1, 2, 3, 4]))),
    "transaction id 0": saying(lambda r: frame(0, r.unit, registers(3, [1, 2, 3, 4]))),
    "another transaction": saying(lambda r: frame(r.tid ^ 0x5500, r.unit, registers(3, [1, 2, 3, 4]))),
    "another unit": saying(lambda r: frame(r.tid, 9, registers(3, [1, 2, 3, 4]))),
}


@pytest.mark.parametrize("lie", LIES, ids=lambda x: x)
async def test_an_answer_that_does_not_fit_is_a_lie_and_the_next_one_is_right(lie: str):
    async with fake_device(first(LIES[lie])) as port:
        link = link_to(port)
        with pytest.raises(DeviceLied):
            await link.read(1, "holding", 40, 4)
        assert await eventually(link, 50, 4) == [50, 51, 52, 53]
        link.close()


async def nothing(request: Request, writer: asyncio.StreamWriter) -> None:
    pass


async def half_a_frame(request: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(good_answer(request)[:9])


async def garbage(request: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(random.Random(7).randbytes(40))


async def absurd_length(request: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(struct.pack(">HHHB", request.tid, 0, 60000, request.unit) + b"\x03\x08" + bytes(8))


@pytest.mark.parametrize("trouble", [nothing, half_a_frame, garbage, absurd_length], ids=lambda f: f.__name__)
async def test_without_a_whole_answer_the_wait_ends_at_the_deadline(trouble: Script):
    async with fake_device(first(trouble)) as port:
        link = link_to(port, DEADLINE_S)
        began = time.monotonic()
        with pytest.raises((DeviceSilent, DeviceLied)):
            await link.read(1, "holding", 40, 4)
        assert time.monotonic() - began < DEADLINE_S + 5.0
        assert await eventually(link, 50, 4) == [50, 51, 52, 53]
        link.close()


async def test_a_reset_in_mid_request_is_noticed_at_once():
    async def reset(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(good_answer(request)[:9])
        writer.transport.abort()

    async with fake_device(first(reset)) as port:
        link = link_to(port)
        began = time.monotonic()
        with pytest.raises(DeviceSilent):
            await link.read(1, "holding", 40, 4)
        assert time.monotonic() - began < 0.5 * PATIENT_S
        assert await eventually(link, 50, 4) == [50, 51, 52, 53]
        link.close()


async def test_an_answer_that_drips_in_byte_by_byte_is_whole_in_the_end():
    async def drip(request: Request, writer: asyncio.StreamWriter) -> None:
        for byte in good_answer(request):
            writer.write(bytes([byte]))
            await asyncio.sleep(0.002)

    async with fake_device(drip) as port:
        link = link_to(port)
        assert await link.read(1, "input", 7, 3) == [7, 8, 9]
        link.close()


@pytest.mark.parametrize("tid_of_late", ["its own", "zero"])
async def test_a_late_answer_is_never_taken_for_the_answer_to_the_next_question(tid_of_late: str):
    """The device answers the first request after the second was asked: register 500 must not show what stands in 10."""

    async def late(request: Request, writer: asyncio.StreamWriter) -> None:
        if request.address == 10:
            await asyncio.sleep(DEADLINE_S + 0.05)
            tid = request.tid if tid_of_late == "its own" else 0
            writer.write(frame(tid, request.unit, registers(3, [10, 11])))
        else:
            writer.write(good_answer(request))

    async with fake_device(late) as port:
        link = link_to(port)
        for _ in range(5):
            link.deadline_s = DEADLINE_S
            with pytest.raises(DeviceSilent):
                await link.read(1, "holding", 10, 2)
            assert await eventually(link, 500, 2) == [500, 501]
        link.close()


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5, 6, 10, 11, 77])
async def test_an_exception_is_a_refusal_with_its_code_and_keeps_the_connection(code: int):
    async with fake_device(first(saying(lambda r: frame(r.tid, r.unit, bytes([r.function | 0x80, code]))))) as port:
        link = link_to(port)
        with pytest.raises(Refusal) as refusal:
            await link.read(1, "holding", 40, 4)
        assert refusal.value.code == code
        assert refusal.value.is_map_fault == (code <= 3)
        assert await link.read(1, "holding", 50, 1) == [50]
        assert link.generation == 1
        link.close()


@pytest.mark.parametrize(("function", "echo"), [(16, (300, 2)), (16, (200, 1)), (6, (300, 77)), (6, (200, 78))])
async def test_a_write_with_another_echo_is_a_lie(function: int, echo: tuple[int, int]):
    async with fake_device(saying(lambda r: frame(r.tid, r.unit, struct.pack(">BHH", r.function, *echo)))) as port:
        link = link_to(port)
        with pytest.raises(DeviceLied, match="echo"):
            await link.write(1, 200, [77, 78] if function == 16 else [77], function)
        link.close()


async def test_a_write_is_sent_once_even_when_nothing_comes_back():
    seen = []

    async def count(request: Request, writer: asyncio.StreamWriter) -> None:
        seen.append(request.function)

    async with fake_device(count) as port:
        link = link_to(port, DEADLINE_S)
        with pytest.raises(DeviceSilent):
            await link.write(1, 200, [77])
        await asyncio.sleep(2 * DEADLINE_S)
        assert seen == [16]
        link.close()


async def test_an_absent_device_is_tried_less_and_less_often_and_found_again(monkeypatch: pytest.MonkeyPatch):
    wall_s = [0.0]
    monkeypatch.setattr("adapters.modbus.link.time.monotonic", lambda: wall_s[0])
    row = PortRow()  # nobody else listens there meanwhile
    port = row.base
    link = link_to(port)
    attempts = 0
    for k in range(100):
        wall_s[0] = 0.005 * k
        with pytest.raises(DeviceSilent) as silence:
            await link.read(1, "holding", 1, 1)
        attempts += "does not accept" in str(silence.value)
    assert 3 <= attempts <= 15  # 0.01, 0.02, 0.04, 0.08, then 0.1 s apart, each +-25 %
    async with fake_device(honest, port):
        wall_s[0] += 0.2
        assert await link.read(1, "holding", 500, 2) == [500, 501]
        link.close()
    row.let_go()


async def test_one_question_at_a_time_per_connection():
    waiting = 0

    async def slow(request: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal waiting
        waiting += 1
        assert waiting == 1
        await asyncio.sleep(0.01)
        waiting -= 1
        writer.write(good_answer(request))

    async with fake_device(slow) as port:
        link = link_to(port)
        answers = await asyncio.gather(*(link.read(unit, "holding", 10 * unit, 2) for unit in (1, 2, 3)))
        assert answers == [[10, 11], [20, 21], [30, 31]]
        link.close()


async def test_a_cancelled_question_leaves_no_answer_behind():
    is_asked, go_on = asyncio.Event(), asyncio.Event()

    async def late(request: Request, writer: asyncio.StreamWriter) -> None:
        is_asked.set()
        await go_on.wait()
        writer.write(good_answer(request))

    async with fake_device(late) as port:
        link = link_to(port)
        task = asyncio.create_task(link.read(1, "holding", 10, 2))
        await asyncio.wait_for(is_asked.wait(), PATIENT_S)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()
        assert await eventually(link, 500, 2) == [500, 501]
        assert link.generation == 2
        link.close()


async def eventually(link: Link, address: int, count: int) -> list[int]:
    """The answer once the link has reconnected; anything but silence in between is a failure."""
    link.deadline_s = PATIENT_S
    for _ in range(100):
        try:
            return await link.read(1, "holding", address, count)
        except DeviceSilent as error:
            assert "not connected" in str(error)
            await asyncio.sleep(0.005)
    raise AssertionError("the link never came back")


async def test_no_single_wrong_byte_before_the_data_makes_a_wrong_value():
    """Each byte of header, function and byte count in turn is turned into something else: an error or the right answer follows."""
    rng = random.Random(5)

    async def corrupt(request: Request, writer: asyncio.StreamWriter) -> None:
        data = bytearray(good_answer(request))
        data[request.number % 9] ^= rng.randrange(1, 256)
        writer.write(bytes(data))

    async with fake_device(corrupt) as port:
        link = Link("127.0.0.1", port, random.Random(3), deadline_s=0.03, connect_s=PATIENT_S, backoff_s=(0.001, 0.002))
        outcomes = {"right": 0, "error": 0}
        while sum(outcomes.values()) < 45:
            try:
                assert await link.read(1, "holding", 40, 4) == [40, 41, 42, 43]
                outcomes["right"] += 1
            except NotConnected:
                await asyncio.sleep(0.002)
            except FieldError:
                outcomes["error"] += 1
        assert outcomes["error"] > 25
        link.close()


async def test_an_answer_of_the_connection_before_never_fits_a_question_of_the_next():
    """A gateway that hands the answers of a dead session to the next one: the numbers of the questions go on, so none of them fits."""
    tids: list[int] = []

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        tids.append(request.tid)
        if request.number % 2:
            writer.close()  # the answer is lost with the connection
        else:
            writer.write(good_answer(request))

    async with fake_device(script) as port:
        link = Link("127.0.0.1", port, random.Random(3), deadline_s=PATIENT_S, connect_s=PATIENT_S, backoff_s=(0.0, 0.0))
        for _ in range(4):
            with pytest.raises(DeviceSilent):
                await link.read(1, "holding", 40, 4)
            assert await link.read(1, "holding", 40, 4) == [40, 41, 42, 43]
        link.close()
    assert len(set(tids)) == len(tids) == 8 and min(tids) > 0
