"""Values to registers and back: word order, bytes, scale, offset, sign, sentinels, and how registers are read together."""

import math
import random
import struct
from dataclasses import replace

import pytest

from adapters.modbus.page import WIDTH, Point
from adapters.modbus.registers import Block, decode, encode, may_be_torn, plan_blocks, raw_to_registers, registers_to_raw
from ems.errors import DeviceRefused

PLAIN = Point("x", 0, "holding", "uint16", 1, "big", False, 1.0, 0.0, 1, None, "", (), (), None, None, "assumed", "a test")


def point(kind: str, **changes: object) -> Point:
    return replace(PLAIN, type=kind, count=WIDTH[kind], **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("order", "swap", "words"),
    [
        ("big", False, (0x42F6, 0xE979)),
        ("little", False, (0xE979, 0x42F6)),
        ("big", True, (0xF642, 0x79E9)),
        ("little", True, (0x79E9, 0xF642)),
    ],
)
def test_a_float_in_each_order_of_words_and_bytes(order: str, swap: bool, words: tuple[int, int]):
    p = point("float32", word_order=order, byte_swap=swap)
    assert encode(p, 123.456) == words
    assert decode(p, words) == pytest.approx(123.456, rel=1e-6)


def test_offset_and_scale_are_those_of_the_map():
    """Caterpillar EMCP 4: total W as uint32 with offset -2,000,000,000; percent as uint16, 1/128 with offset -251."""
    watts = point("uint32", scale=0.001, offset=-2_000_000.0)
    assert encode(watts, 1500.0) == struct.unpack(">2H", struct.pack(">I", 2_001_500_000))
    assert decode(watts, encode(watts, -20.0)) == pytest.approx(-20.0)
    percent = point("uint16", scale=1 / 128, offset=-251.0)
    assert decode(percent, (33_408,)) == 10.0


def test_sign_turns_a_device_that_speaks_the_other_way():
    p = point("int16", scale=0.1, sign=-1)
    assert encode(p, -50.0) == (500,)
    assert decode(p, (500,)) == -50.0


def test_a_scale_factor_is_a_power_of_ten():
    p = point("int16", scale=0.001)
    assert decode(p, (1234,), exponent=2) == pytest.approx(123.4)
    assert encode(p, 123.4, exponent=2) == (1234,)


@pytest.mark.parametrize("kind", WIDTH)
def test_random_raw_values_survive(kind: str):
    rng = random.Random(f"raw {kind}")
    p = point(kind)
    for _ in range(200):
        words = tuple(rng.randrange(65536) for _ in range(WIDTH[kind]))
        raw = registers_to_raw(p, words)
        if isinstance(raw, float) and math.isnan(raw):
            continue
        assert raw_to_registers(p, raw) == words


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 70_000.0, -1.0])
def test_what_a_register_cannot_hold_is_refused(value: float):
    with pytest.raises(DeviceRefused):
        encode(point("uint16"), value)


def test_a_value_that_would_look_like_no_value_is_refused():
    with pytest.raises(DeviceRefused, match="no value"):
        encode(point("uint16", invalid=(65535,)), 65535.0)


def test_a_float_beyond_its_range_is_refused():
    with pytest.raises(DeviceRefused):
        encode(point("float32"), 1e39)


@pytest.mark.parametrize(("kind", "raw"), [("uint16", 0xFFFF), ("int16", -0x8000), ("uint32", 0xFFFFFFFF), ("int32", -(2**31))])
def test_a_sentinel_is_no_value(kind: str, raw: int):
    p = point(kind, invalid=(raw,))
    assert decode(p, raw_to_registers(p, raw)) is None


def test_nan_on_the_wire_is_no_value():
    assert decode(point("float32"), (0x7FC0, 0)) is None
    assert decode(point("float32"), (0x7F80, 0)) is None


def test_an_unknown_code_is_no_value():
    p = point("uint16", values=((3, 0.0), (5, 1.0)))
    assert [decode(p, (raw,)) for raw in (3, 5, 4)] == [0.0, 1.0, None]
    with pytest.raises(DeviceRefused):
        encode(p, 2.0)


def test_text_ends_at_the_first_zero():
    p = replace(PLAIN, type="string", count=4)
    assert registers_to_raw(p, raw_to_registers(p, "UPS 9")) == "UPS 9"
    with pytest.raises(DeviceRefused):
        raw_to_registers(p, "longer than eight")


def at(address: int, count: int = 2, table: str = "holding") -> Point:
    return replace(PLAIN, name=f"{table}{address}", address=address, count=count, table=table, type="float32")


@pytest.mark.parametrize(
    ("points", "max_registers", "max_gap", "expect"),
    [
        ([at(0), at(2)], 125, 0, [Block("holding", 0, 4)]),
        ([at(2), at(0)], 125, 0, [Block("holding", 0, 4)]),
        ([at(0), at(3)], 125, 0, [Block("holding", 0, 2), Block("holding", 3, 2)]),
        ([at(0), at(3)], 125, 1, [Block("holding", 0, 5)]),
        ([at(0), at(124)], 125, 124, [Block("holding", 0, 2), Block("holding", 124, 2)]),
        ([at(0), at(123)], 125, 124, [Block("holding", 0, 125)]),
        ([at(0), at(2, table="input")], 125, 9, [Block("holding", 0, 2), Block("input", 2, 2)]),
        ([at(0), at(2), at(4)], 4, 0, [Block("holding", 0, 4), Block("holding", 4, 2)]),
        ([at(0), at(0)], 125, 0, [Block("holding", 0, 2)]),
    ],
)
def test_neighbours_are_read_together(points: list[Point], max_registers: int, max_gap: int, expect: list[Block]):
    assert list(plan_blocks(points, max_registers, max_gap)) == expect


INTEGERS = ("int32", "uint32", "uint64")
LAYOUTS = [(order, swap) for order in ("big", "little") for swap in (False, True)]


def two_instants(p: Point, rng: random.Random, most: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """A value, the next one at most so far away, and an answer with words of both; often where a word runs over or the sign turns."""
    low = -(2**31) if p.type == "int32" else 0
    first = rng.choice([0, 2**16, 2**17, 2**24, rng.randrange(2**30)]) + rng.choice([0, 1, most])
    before = raw_to_registers(p, max(low, first if low == 0 else first - 2 * most))
    now = raw_to_registers(p, max(low, int(registers_to_raw(p, before)) + rng.randint(-most, most)))
    return before, now, tuple(rng.choice(pair) for pair in zip(before, now, strict=True))


@pytest.mark.parametrize("kind", INTEGERS)
def test_an_integer_with_words_of_two_instants_is_noticed_or_no_further_off_than_half_a_low_word(kind: str):
    rng, noticed = random.Random(f"torn {kind}"), 0
    for k in range(2000):
        p = point(kind, word_order=LAYOUTS[k % 4][0], byte_swap=LAYOUTS[k % 4][1])
        before, now, torn = two_instants(p, rng, 2**15 - 1)
        assert not may_be_torn(p, before, now)  # what really moves so little costs no second read
        noticed += may_be_torn(p, before, torn)
        off = abs(float(registers_to_raw(p, torn)) - float(registers_to_raw(p, before)))
        assert may_be_torn(p, before, torn) or off < 2**15
    assert noticed > 100


def test_a_float_with_words_of_two_instants_is_within_a_hundredth_of_one_of_the_two():
    rng = random.Random("torn float")
    for order, swap in LAYOUTS * 300:
        p = point("float32", word_order=order, byte_swap=swap)
        values = [rng.choice([-1.0, 1.0]) * 10.0 ** rng.uniform(-2.0, 6.0) for _ in range(2)]
        before, now = (raw_to_registers(p, v) for v in values)
        assert not may_be_torn(p, before, now)
        for torn in ((before[0], now[1]), (now[0], before[1])):
            assert any(float(registers_to_raw(p, torn)) == pytest.approx(v, rel=0.01) for v in values)
