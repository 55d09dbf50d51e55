"""The page server where pymodbus's own falls short, and the faults it can be told to have."""

import asyncio
import random
import struct
from collections.abc import AsyncIterator

import pytest

from adapters.modbus.page_file import load_page
from adapters.modbus.server import Fault, PageServer
from ems.errors import DeviceRefused
from ems.resources import bundled


class Equipment:
    """A UPS that refuses to charge."""

    def __init__(self) -> None:
        self.values = {"power_kw": 1.0, "load_kw": 900.0, "battery_kw": 0.0, "soc": 0.9, "mode": 0.0, "is_local": 0.0}
        self.told: list[tuple[str, float]] = []

    def read(self) -> dict[str, float]:
        return self.values

    def write(self, name: str, value: float) -> None:
        if name == "battery_setpoint_kw" and value > 0:
            raise DeviceRefused("the battery is full")
        self.told.append((name, value))


@pytest.fixture
def equipment() -> Equipment:
    return Equipment()


@pytest.fixture
async def server(equipment: Equipment) -> AsyncIterator[PageServer]:
    page = load_page(bundled("config/devices/generic-grid-interactive-ups.yaml"))
    server = PageServer(page, equipment.read, equipment.write, unit_id=3)
    await server.start()
    yield server
    await server.stop()


def read_request(tid: int, address: int, count: int, unit: int = 3, function: int = 3) -> bytes:
    return struct.pack(">HHHBBHH", tid, 0, 6, unit, function, address, count)


def write_request(tid: int, address: int, values: list[int]) -> bytes:
    body = struct.pack(f">BHHB{len(values)}H", 16, address, len(values), 2 * len(values), *values)
    return struct.pack(">HHHB", tid, 0, len(body) + 1, 3) + body


async def answers(port: int, data: bytes, count: int, within_s: float = 60.0) -> list[tuple[int, bytes]]:
    """The first `count` answers to raw bytes, as (transaction, function and data)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    found = []
    try:
        async with asyncio.timeout(within_s):
            for _ in range(count):
                tid, _, length, _ = struct.unpack(">HHHB", await reader.readexactly(7))
                found.append((tid, await reader.readexactly(length - 1)))
    finally:
        writer.close()
    return found


async def test_requests_that_arrive_together_are_all_answered_in_order(server: PageServer):
    found = await answers(server.port, read_request(1, 102, 2) + read_request(2, 106, 1) + read_request(3, 99, 1), 3)
    assert [tid for tid, _ in found] == [1, 2, 3]
    assert [struct.unpack(">h", pdu[-2:])[0] for _, pdu in found] == [9000, 9000, 4102]


async def test_a_request_in_pieces_is_answered(server: PageServer):
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    for byte in read_request(1, 99, 1):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.001)
    assert (await asyncio.wait_for(reader.readexactly(11), 60.0))[-2:] == struct.pack(">H", 4102)
    writer.close()


@pytest.mark.parametrize(
    ("request_bytes", "code"),
    [
        (read_request(1, 99, 1, unit=4), 11),  # unit behind a gateway that does not answer
        (read_request(1, 99, 1, function=4), 2),  # nothing in the input table
        (read_request(1, 99, 1, function=1), 1),  # coils
        (read_request(1, 90, 4), 2),  # before the first register
        (read_request(1, 113, 3), 2),  # beyond the last
        (write_request(1, 102, [0, 1]), 2),  # a reading
        (write_request(1, 110, [0]), 3),  # half a command
        (write_request(1, 111, [0]), 2),  # the other half
        (write_request(1, 110, [0x8000, 0]), 3),  # "no value" as a command
        (write_request(1, 110, [0, 1000]), 3),  # +100 kW, which the equipment refuses
    ],
)
async def test_what_the_device_does_not_do_is_answered_with_an_exception(server: PageServer, request_bytes: bytes, code: int):
    [(_, pdu)] = await answers(server.port, request_bytes, 1)
    assert pdu[0] & 0x80 and pdu[1] == code


async def test_a_refused_command_leaves_the_register_as_it_was(server: PageServer, equipment: Equipment):
    await answers(server.port, write_request(1, 110, [0xFFFF, 0xFC18]), 1)
    await answers(server.port, write_request(2, 110, [0, 1000]), 1)
    [(_, pdu)] = await answers(server.port, read_request(3, 110, 2), 1)
    assert struct.unpack(">i", pdu[-4:])[0] == -1000
    assert equipment.told == [("battery_setpoint_kw", -100.0)]


async def test_a_beat_keeps_the_lease_and_zero_lets_go(server: PageServer, equipment: Equipment):
    await answers(server.port, write_request(1, 112, [75]) + write_request(2, 113, [1]) + write_request(3, 113, [0]), 3)
    assert equipment.told == [("lease_s", 75.0), ("release", 0.0)]


async def test_a_silent_device_answers_nothing_and_takes_nothing(server: PageServer, equipment: Equipment):
    server.fault = Fault.SILENT
    with pytest.raises(TimeoutError):
        await answers(server.port, write_request(1, 110, [0xFFFF, 0xFC18]), 1, within_s=0.1)
    assert equipment.told == []


async def test_a_deaf_device_acknowledges_and_does_nothing(server: PageServer, equipment: Equipment):
    server.fault = Fault.DEAF
    [(_, pdu)] = await answers(server.port, write_request(1, 110, [0xFFFF, 0xFC18]), 1)
    assert pdu[0] == 16
    assert (equipment.told, server.write_count) == ([], 1)


async def test_a_frozen_device_repeats_itself(server: PageServer, equipment: Equipment):
    server.fault = Fault.FROZEN
    await answers(server.port, read_request(1, 102, 2), 1)
    equipment.values["load_kw"] = 100.0
    [(_, pdu)] = await answers(server.port, read_request(2, 102, 2), 1)
    assert struct.unpack(">i", pdu[-4:])[0] == 9000


async def test_a_reboot_forgets_the_lease_and_keeps_the_port(server: PageServer, equipment: Equipment):
    await answers(server.port, write_request(1, 112, [75]), 1)
    port = server.port
    await server.restart()
    [(_, pdu)] = await answers(port, read_request(2, 112, 1), 1)
    assert pdu[-1] == 60


async def test_a_taken_port_is_an_error_that_names_it(server: PageServer, equipment: Equipment):
    other = PageServer(server.page, equipment.read, equipment.write, port=server.port)
    with pytest.raises(OSError, match=str(server.port)):
        await other.start()


async def test_random_bytes_never_stop_the_server(server: PageServer):
    rng = random.Random(11)
    for _ in range(50):
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(rng.randbytes(rng.randint(1, 60)))
        await writer.drain()
        writer.close()
    [(_, pdu)] = await answers(server.port, read_request(2, 99, 1), 1)
    assert pdu[-2:] == struct.pack(">H", 4102)
