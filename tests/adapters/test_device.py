"""One device behind one server: identity, quality, scale factors, memory that wears, and leases of each kind."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from adapters.modbus.device import Device
from adapters.modbus.link import Link
from adapters.modbus.page_file import read_page
from adapters.modbus.registers import decode_point
from adapters.modbus.server import PageServer
from ems.clock import Clock
from ems.errors import DeviceRefused
from ems.reading import Quality
from ems.site.source import parse_source
from tests.adapters.small_site import START

HEAD = """\
title: A battery
asset_kind: battery
source: a document that exists only here
max_gap: 40
gaps: zeros
settle_s: 2
defaults: {evidence: document, type: int16, invalid: {int16: -32768}}
points:
  power_kw: {address: 10, scale_factor: sf, quality: quality}
  soc: {address: 11, scale: 0.01}
"""
REGISTERS = """\
registers:
  sf: {address: 12, default: -1}
  quality: {address: 13, default: 0}
  model: {address: 14, default: 77}
  beat: {address: 15, default: 0}
  other: {address: 16, default: 0}
"""
LEASE = "lease: {kind: heartbeat, counter: beat, release: {beat: 0}}\n"


def command(more: str = "memory: volatile") -> str:
    return f"commands:\n  power_setpoint_kw: {{address: 20, min_kw: -500, max_kw: 500, scale: 0.1, {more}}}\n"


class TurnedClock(Clock):
    """Site time that a test turns by hand."""

    def turn(self, seconds: float) -> None:
        object.__setattr__(self, "epoch", self.epoch + timedelta(seconds=seconds))

    def now(self):  # type: ignore[no-untyped-def]
        return self.epoch


@dataclass
class Bench:
    device: Device
    server: PageServer
    link: Link
    clock: TurnedClock
    values: dict[str, float]
    told: list[tuple[str, float]]

    async def hold(self, kw: float, keep_lease: bool = True) -> None:
        self.device.want({"power_setpoint_kw": kw}, keep_lease)
        await self.device.flush()

    def commands_told(self) -> list[float]:
        return [value for name, value in self.told if name == "power_setpoint_kw"]


Make = Callable[[str], Awaitable[Bench]]


@pytest.fixture
async def bench() -> AsyncIterator[Make]:
    async with AsyncExitStack() as stack:

        async def make(text: str) -> Bench:
            values: dict[str, float] = {"power_kw": 12.5, "soc": 0.5, "power_setpoint_kw": 0.0}
            told: list[tuple[str, float]] = []

            def write(name: str, value: float) -> None:
                told.append((name, value))
                values[name] = value

            page = read_page(parse_source(text, Path("battery.yaml")))
            server = PageServer(page, lambda: values, write)
            await server.start()
            stack.push_async_callback(server.stop)
            link = Link(server.host, server.port, random.Random(2), deadline_s=20.0, connect_s=20.0, backoff_s=(0.0, 0.0))
            stack.callback(link.close)
            clock = TurnedClock(START, 0.0)
            return Bench(Device("it", page, link, 1, 60.0, clock, taking_lease_s=40.0), server, link, clock, values, told)

        yield make


async def test_a_device_of_another_type_is_neither_believed_nor_written(bench: Make):
    b = await bench(HEAD + REGISTERS + command() + LEASE + "identity: {model: 78}\n")
    await b.device.poll()
    await b.hold(5.0)
    assert b.device.readings == {}
    assert b.server.write_count == 0
    assert b.device.problem is not None and "model is 77, expected 78" in b.device.problem


async def test_a_device_that_comes_back_as_another_type_is_not_written(bench: Make):
    b = await bench(HEAD + REGISTERS + command() + LEASE + "identity: {model: 77}\n")
    await b.device.poll()
    await b.hold(5.0)
    writes = b.server.write_count
    b.values["model"] = 99.0
    await b.server.restart()
    await b.device.poll()
    await b.device.poll()
    await b.hold(9.0)
    assert b.server.write_count == writes
    assert b.device.problem is not None and "model is 99" in b.device.problem


async def test_nothing_is_written_before_the_device_was_met(bench: Make):
    b = await bench(HEAD + REGISTERS + command() + LEASE)
    await b.hold(5.0)
    assert b.server.write_count == 0


@pytest.mark.parametrize(("register", "quality"), [(0, Quality.GOOD), (1, Quality.SUSPECT), (2, Quality.BAD), (9, Quality.BAD)])
async def test_the_device_says_how_good_a_value_is(bench: Make, register: int, quality: Quality):
    b = await bench(HEAD + REGISTERS)
    b.values["quality"] = float(register)
    await b.device.poll()
    assert b.device.readings["power_kw"].quality is quality
    assert b.device.readings["soc"].quality is Quality.GOOD


async def test_a_value_whose_words_are_of_two_instants_is_read_again_and_never_shown(bench: Make):
    """The device moves its power from 65,535 to 65,536 and answers in between: 131,071, or nothing at all."""
    b = await bench(
        HEAD.replace("power_kw: {address: 10, scale_factor: sf, quality: quality}", "power_kw: {address: 30, type: int32}") + REGISTERS
    )
    read, torn, asked = b.link.read, [0, 0], []

    async def halves(unit_id: int, table: str, address: int, count: int) -> list[int]:
        words = await read(unit_id, table, address, count)
        asked.append(address)
        if torn != [0, 0]:
            words[30 - address : 32 - address], torn[:] = list(torn), [0, 0]
        return words

    b.link.read = halves  # type: ignore[method-assign]
    b.values["power_kw"] = 65_535.0
    await b.device.poll()
    polled = len(asked)
    b.values["power_kw"] = 65_536.0
    for words in ((0x0001, 0xFFFF), (0x8000, 0x0000)):
        asked.clear()
        torn[:] = words
        await b.device.poll()
        assert b.device.readings["power_kw"].value == 65_536.0
        assert len(asked) == polled + 1
    asked.clear()
    b.values["power_kw"] = 200_000.0  # a true leap is read twice, and believed
    await b.device.poll()
    assert b.device.readings["power_kw"].value == 200_000.0 and len(asked) == polled + 1
    await b.device.poll()
    assert len(asked) == 2 * polled + 1


async def test_a_scale_factor_is_read_with_the_value_it_scales(bench: Make):
    """It may change at run time; the value stays right. A factor that is not implemented makes no value, not a wrong one."""
    b = await bench(HEAD + REGISTERS)
    for factor in (-1, 0, -2):
        b.server._registers._stored["sf"] = (factor & 0xFFFF,)
        b.values["power_kw"] = 12.0
        await b.device.poll()
        assert b.device.readings["power_kw"].value == 12.0
    for factor in (-32768, 99):
        words = {("holding", 10): 120, ("holding", 11): 50, ("holding", 12): factor & 0xFFFF, ("holding", 13): 0}
        assert decode_point(b.device.page, b.device.page.reading("power_kw"), words) == (None, Quality.BAD)


async def test_a_reading_keeps_the_stamp_of_the_wire_when_the_device_falls_silent(bench: Make):
    b = await bench(HEAD + REGISTERS)
    await b.device.poll()
    b.clock.turn(30)
    await b.server.stop()
    for _ in range(3):
        await b.device.poll()
    assert b.device.readings["power_kw"].at == START
    assert b.device.problem is not None


async def test_a_register_the_device_does_not_have_is_asked_for_rarely_and_the_rest_is_read(bench: Make):
    b = await bench(HEAD.replace("max_gap: 40", "max_gap: 0").replace("soc: {address: 11", "soc: {address: 50") + REGISTERS)
    b.device._blocks = (*b.device._blocks, type(b.device._blocks[0])("input", 3, 2))
    await b.device.poll()
    assert b.device.readings["soc"].value == 0.5
    assert b.device.problem is not None and "input 3+2: refused with exception 2" in b.device.problem
    asked = []
    read = b.link.read
    b.link.read = lambda *a: asked.append(a[1]) or read(*a)  # type: ignore[method-assign]
    await b.device.poll()
    b.clock.turn(31)
    await b.device.poll()
    assert asked.count("input") == 1


async def test_memory_that_wears_is_written_on_change_only_and_not_too_often(bench: Make):
    b = await bench(HEAD + REGISTERS + command("memory: eeprom, min_write_interval_s: 60") + LEASE)
    await b.device.poll()
    for seconds in range(0, 300, 5):
        await b.hold(float(seconds))
        b.clock.turn(5)
        await b.device.poll()
    assert len(b.commands_told()) == 5  # 300 s, one write a minute, whatever was wished in between
    told = len(b.commands_told())
    last = b.commands_told()[-1]
    for _ in range(60):
        await b.hold(last)
        b.clock.turn(5)
        await b.device.poll()
    assert len(b.commands_told()) == told


async def test_a_heartbeat_never_says_zero(bench: Make):
    b = await bench(HEAD + REGISTERS + command() + LEASE)
    b.device._lease._beat = 32766  # the register is an int16
    await b.device.poll()
    for _ in range(4):
        await b.hold(5.0)
        b.clock.turn(21)
    assert [name for name, _ in b.told].count("release") == 0
    assert [name for name, _ in b.told].count("lease_s") == 4


async def test_a_device_kept_by_its_command_is_not_written_more_often_than_it_allows(bench: Make):
    more = "memory: volatile, min_write_interval_s: 10"
    b = await bench(HEAD + REGISTERS + command(more) + "lease: {kind: vendor_timeout, default_s: 60, release: {other: 0}}\n")
    await b.device.poll()
    for _ in range(41):
        await b.hold(5.0)
        b.clock.turn(1)
        await b.device.poll()
    assert len(b.commands_told()) == 5  # at 0, 10, 20, 30 and 40 s


async def test_a_vendor_timeout_is_fed_by_writing_the_command_again(bench: Make):
    b = await bench(HEAD + REGISTERS + command() + "lease: {kind: vendor_timeout, default_s: 60, release: {other: 0}}\n")
    await b.device.poll()
    for _ in range(6):
        await b.hold(5.0)
        b.clock.turn(3)
        await b.device.poll()
    assert b.commands_told() == [5.0, 5.0, 5.0]  # at 0, 6 and 12 s: a tenth of the lease apart
    for _ in range(6):
        await b.hold(5.0, keep_lease=False)
        b.clock.turn(5)
        await b.device.poll()
    assert len(b.commands_told()) == 3


async def test_a_device_whose_lease_reading_feeds_is_left_alone_when_decisions_stop(bench: Make):
    lease = "lease: {kind: vendor_timeout, default_s: 60, fed_by_reads: true, release: {other: 0}}\n"
    b = await bench(HEAD + REGISTERS + command() + lease)
    await b.device.poll()
    await b.hold(5.0)
    b.clock.turn(59)
    await b.device.poll()
    stamp = b.device.readings["soc"].at
    b.clock.turn(2)
    await b.device.poll()
    assert b.device.readings["soc"].at == stamp
    assert b.device.problem == "not read, so that the lease lapses"


async def test_single_register_writes_are_used_where_the_page_says_so(bench: Make):
    b = await bench("write_function: 6\n" + HEAD + REGISTERS + command() + LEASE)
    await b.device.poll()
    await b.hold(5.0)
    assert b.told == [("power_setpoint_kw", 5.0), ("lease_s", 60.0)]
    assert b.device.problem is None


async def test_a_command_that_is_not_a_number_or_out_of_range_is_not_sent(bench: Make):
    b = await bench(HEAD + REGISTERS + command() + LEASE)
    await b.device.poll()
    for kw in (float("nan"), 501.0, -1e9):
        await b.hold(kw)
        assert b.device.problem is not None and "is outside -500 to 500 kW" in b.device.problem
    assert b.commands_told() == []
    await b.hold(500.0)
    assert (b.commands_told(), b.device.problem) == ([500.0], None)


async def test_a_command_the_page_does_not_know_is_a_problem(bench: Make):
    b = await bench(HEAD + REGISTERS + command() + LEASE)
    await b.device.poll()
    b.device.want({"power_cap_kw": 5.0}, True)
    await b.device.flush()
    assert b.server.write_count == 0
    assert b.device.problem == "power_cap_kw: the device has no such command"


async def test_a_refused_sequence_is_reported_at_once_and_repeated_only_for_another_wish(bench: Make):
    """The device takes the value and refuses to enable it, as a battery at the end of its window does."""
    lease = (
        "lease: {kind: reversion_timer, seconds: beat, enable: other, before: {beat: lease_s}, after: {other: 1}, release: {other: 0}}\n"
    )
    b = await bench(HEAD + REGISTERS + command() + lease)

    def refuse(name: str, value: float) -> None:
        if value > 0 and name == "power_setpoint_kw":
            raise DeviceRefused("full")
        b.told.append((name, value))

    b.server._registers._write = refuse
    await b.device.poll()
    await b.hold(5.0)
    assert b.device.problem is not None and "write refused" in b.device.problem
    writes = b.server.write_count
    await b.hold(5.0)
    assert b.server.write_count == writes
    await b.hold(-5.0)
    assert (b.told, b.device.problem) == ([("power_setpoint_kw", -5.0), ("lease_s", 60.0)], None)


TIMER_WITH_ENABLE = (
    "lease: {kind: reversion_timer, seconds: beat, enable: other, before: {beat: lease_s}, after: {other: 1}, release: {other: 0}}\n"
)
SETTABLE = "lease: {kind: heartbeat, seconds: other, counter: beat, before: {other: lease_s}, release: {beat: 0}}\n"


async def test_a_store_that_takes_power_is_armed_with_the_shorter_lease_and_only_when_the_sign_changes(bench: Make):
    b = await bench(HEAD + REGISTERS + command() + SETTABLE)
    await b.device.poll()
    found = []
    for kw in (-5.0, -6.0, 5.0, 6.0, 0.0, 7.0, -7.0):
        b.told.clear()
        await b.hold(kw)
        b.clock.turn(1.0)
        await b.device.poll()
        found.append([value for name, value in b.told if name == "lease_s"][-1:])
    assert found == [[60.0], [], [40.0], [], [], [], [60.0]]


@pytest.mark.parametrize("first_kw", [5.0, -5.0])
async def test_a_flip_that_is_refused_or_has_to_wait_leaves_the_lease_of_what_is_held(bench: Make, first_kw: float):
    """Found by a reader: the lease followed the wish, and a battery that refused to discharge went on charging with the long one."""
    held_s = 40.0 if first_kw > 0.0 else 60.0
    for lease in (SETTABLE, TIMER_WITH_ENABLE):
        b = await bench(HEAD + REGISTERS + command() + lease)
        await b.device.poll()
        await b.hold(first_kw)
        b.server._registers._is_accepted = lambda command, registers: False
        b.told.clear()
        writes = b.server.write_count
        for _ in range(15):
            b.clock.turn(1.0)
            await b.hold(-first_kw)
            await b.device.poll()
        assert {value for name, value in b.told if name == "lease_s"} <= {held_s} and b.commands_told() == []
        assert b.server.write_count - writes <= 12, "refused once, then asked again after a while"
    b = await bench(HEAD + REGISTERS + command("memory: volatile, min_write_interval_s: 10") + SETTABLE)
    await b.device.poll()
    await b.hold(first_kw)
    found = []
    for k in range(40):
        b.clock.turn(1.0)
        await b.hold(first_kw if k % 4 < 2 else -first_kw)
        await b.device.poll()
    told = [entry for entry in b.told if entry[0] in ("power_setpoint_kw", "lease_s")]
    kw = first_kw
    for name, value in told[1:]:
        kw = value if name == "power_setpoint_kw" else kw
        found.append(name != "lease_s" or value == (40.0 if kw > 0.0 else 60.0))
    assert all(found) and len(b.commands_told()) <= 5


async def test_a_device_that_cannot_be_told_a_lease_keeps_its_own(bench: Make):
    b = await bench(HEAD + REGISTERS + command() + "lease: {kind: vendor_timeout, default_s: 60, release: {other: 0}}\n")
    await b.device.poll()
    await b.hold(-5.0)
    b.clock.turn(1.0)
    await b.hold(5.0)
    assert b.commands_told() == [-5.0, 5.0] and b.device._lease.seconds == 60.0


async def test_golden_10_a_device_that_refuses_a_new_value_is_not_enabled_with_the_old_one(bench: Make):
    """Found by the campaign: in LOCAL a battery refused 0 kW, and enabling it afterwards meant its last setpoint again."""
    lease = (
        "lease: {kind: reversion_timer, seconds: beat, enable: other, before: {beat: lease_s}, after: {other: 1}, release: {other: 0}}\n"
    )
    b = await bench(HEAD + REGISTERS + command() + lease)
    await b.device.poll()
    await b.hold(-5.0)
    b.clock.turn(61.0)  # it lapsed
    b.told.clear()
    b.server._registers._is_accepted = lambda command, registers: False
    await b.hold(0.0)
    assert b.commands_told() == [] and b.device.problem is not None


TIMER = "lease: {kind: reversion_timer, seconds: beat, before: {beat: lease_s}, release: {other: 0}}\n"


async def test_a_device_that_was_away_is_armed_again_even_when_it_shows_the_right_value(bench: Make):
    b = await bench(HEAD + REGISTERS + command() + LEASE)
    await b.device.poll()
    await b.hold(5.0)
    await b.server.restart()
    for _ in range(2):
        await b.device.poll()
    await b.hold(5.0)
    assert b.commands_told() == [5.0, 5.0]


async def test_a_lease_is_kept_without_wearing_the_memory_of_the_command(bench: Make):
    b = await bench(HEAD + REGISTERS + command("memory: eeprom") + TIMER)
    await b.device.poll()
    for _ in range(6):
        await b.hold(5.0)
        b.clock.turn(20)
        await b.device.poll()
    assert b.commands_told() == [5.0]
    assert [name for name, _ in b.told].count("lease_s") == 6


async def test_a_command_register_without_effect_is_read_back_as_no_value(bench: Make):
    """The function was disabled behind our back: what its register still holds must not pass for a setpoint in force."""
    lease = (
        "lease: {kind: reversion_timer, seconds: beat, enable: other, before: {beat: lease_s}, after: {other: 1}, release: {other: 0}}\n"
    )
    b = await bench(HEAD + REGISTERS + command() + lease)
    await b.device.poll()
    assert b.device.commands["power_setpoint_kw"].value is None
    await b.hold(5.0)
    await b.device.poll()
    assert b.device.commands["power_setpoint_kw"].value == 5.0
    b.values["lease_remaining_s"] = 0.0
    b.clock.turn(3)
    await b.device.poll()
    assert b.device.commands["power_setpoint_kw"].quality is Quality.BAD
    assert b.device.problem is not None and "reads back no value" in b.device.problem


@pytest.mark.parametrize(
    ("becomes_kw", "words"), [(-120.0, "reverted by the device"), (0.0, "reverted by the device"), (77.0, "another master writes")]
)
async def test_a_value_that_does_not_stay_is_named_within_five_seconds_by_where_it_went(bench: Make, becomes_kw: float, words: str):
    b = await bench(HEAD + REGISTERS + command() + LEASE)
    b.values["power_setpoint_kw"] = -120.0
    await b.device.poll()
    b.clock.turn(1)
    await b.hold(50.0)
    for _ in range(4):
        b.clock.turn(1)
        await b.device.poll()
    assert b.device.problem is None
    b.values["power_setpoint_kw"] = becomes_kw
    for _ in range(5):
        b.clock.turn(1)
        await b.device.poll()
        if b.device.problem is not None:
            break
    assert b.device.problem is not None and words in b.device.problem


async def test_memory_that_wears_has_a_daily_budget_and_then_the_lease_lapses(bench: Make):
    b = await bench(HEAD + REGISTERS + command("memory: eeprom, max_writes_per_day: 3") + LEASE)
    await b.device.poll()
    for kw in (10.0, 20.0, 30.0, 40.0):
        await b.hold(kw)
        b.clock.turn(30)
        await b.device.poll()
    beats = [name for name, _ in b.told].count("lease_s")
    assert b.commands_told() == [10.0, 20.0, 30.0] and "wear budget of 3 writes" in (b.device.problem or "")
    for _ in range(5):
        b.clock.turn(30)
        await b.hold(40.0)
        await b.device.poll()
    assert [name for name, _ in b.told].count("lease_s") == beats, "a wish that cannot be said keeps no lease"
    b.clock.turn(86400)
    await b.hold(40.0)
    assert b.commands_told()[-1] == 40.0
