"""Values to registers and back, and which registers to read together. Pure functions."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from adapters.modbus.page import Page, Point
from ems.errors import DeviceRefused
from ems.reading import Quality

Words = Mapping[tuple[str, int], int]  # (table, address) -> register
FORMATS = {"int16": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I", "float32": ">f", "uint64": ">Q"}
RANGES = {
    "int16": (-(2**15), 2**15 - 1),
    "uint16": (0, 2**16 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
}
TORN = 1 << 15  # half of what a low word holds: words of two instants make a value at least so far from the one before
LARGEST_EXPONENT = 10  # of a scale factor; SunSpec's -32768 means that it is not implemented


@dataclass(frozen=True, slots=True)
class Block:
    """Registers read with one request."""

    table: str
    address: int
    count: int


def plan_blocks(points: Iterable[Point], max_registers: int, max_gap: int) -> tuple[Block, ...]:
    """The fewest requests that cover all points: at most `max_registers` each, spanning at most `max_gap` unused registers in a row."""
    blocks: list[Block] = []
    for point in sorted(points, key=lambda p: (p.table, p.address)):
        last = blocks[-1] if blocks else None
        if last is not None and last.table == point.table and point.address - (last.address + last.count) <= max_gap:
            count = max(last.count, point.end - last.address)
            if count <= max_registers:
                blocks[-1] = Block(last.table, last.address, count)
                continue
        blocks.append(Block(point.table, point.address, point.count))
    return tuple(blocks)


def raw_to_registers(point: Point, raw: float | str) -> tuple[int, ...]:
    """The registers of a raw value, first address first; DeviceRefused when it does not fit the type."""
    data = _text(point, raw) if isinstance(raw, str) else _number(point, raw)
    words = struct.unpack(f">{point.count}H", data)
    if point.byte_swap:
        words = tuple(((w & 0xFF) << 8) | (w >> 8) for w in words)
    return words if point.word_order == "big" else words[::-1]


def registers_to_raw(point: Point, registers: Sequence[int]) -> float | str:
    """The raw value in registers: a number (NaN possible), or the text of a string point."""
    data = _data(point, registers)
    if point.type == "string":
        return data.split(b"\0")[0].decode("ascii", "replace").strip()
    value: float = struct.unpack(FORMATS[point.type], data)[0]
    return value


def encode(point: Point, value: float, exponent: int = 0) -> tuple[int, ...]:
    """The registers that say `value` (our unit and sign); DeviceRefused for NaN, infinity, unknown codes and what does not fit."""
    if not math.isfinite(value) or abs(exponent) > LARGEST_EXPONENT:
        raise DeviceRefused(f"{point.name}: {value} with scale factor {exponent} is not a number a register can hold")
    if point.values:
        return raw_to_registers(point, _code(point, value))
    raw = (value * point.sign - point.offset) / (point.scale * 10.0**exponent)
    registers = raw_to_registers(point, raw if point.type == "float32" else round(raw))
    if decode(point, registers, exponent) is None:
        raise DeviceRefused(f"{point.name}: {value} would be sent as the device's sign for 'no value'")
    return registers


def encode_missing(point: Point) -> tuple[int, ...] | None:
    """The registers that say "no value"; None when the device has no word for it."""
    if point.type == "float32":
        return raw_to_registers(point, math.nan)
    return raw_to_registers(point, point.invalid[0]) if point.invalid else None


def decode(point: Point, registers: Sequence[int], exponent: int = 0) -> float | None:
    """The value in our unit and sign; None for a sentinel, NaN, infinity, an unknown code or a text."""
    raw = registers_to_raw(point, registers)
    if isinstance(raw, str) or not math.isfinite(raw) or raw in point.invalid:
        return None
    if point.values:
        return dict(point.values).get(int(raw))
    return point.sign * (raw * 10.0**exponent * point.scale + point.offset) + 0.0  # never -0.0


def step_kw(point: Point, exponent: int = 0) -> float:
    """The smallest change the registers can show, in our unit; 0 for floats (their own precision is far below a watt per kW)."""
    return 1e-6 if point.type == "float32" else abs(point.scale * 10.0**exponent)


def may_be_torn(point: Point, before: Sequence[int], now: Sequence[int]) -> bool:
    """True when an integer of several registers has moved so far that its words may be of two instants: a device that updates it while it
    answers. A float needs none of this: its first word has the sign, the exponent and seven bits, so that a torn one is within 1 % of
    one of the two."""
    if before == now or point.count == 1 or point.type not in RANGES:
        return False
    span = 1 << (16 * point.count)
    moved = (_whole(point, now) - _whole(point, before)) % span
    return min(moved, span - moved) >= TORN


def _whole(point: Point, registers: Sequence[int]) -> int:
    """The registers as one number without sign."""
    return int(struct.unpack(FORMATS["uint32" if point.count == 2 else "uint64"], _data(point, registers))[0])


def words_of(point: Point, words: Words) -> tuple[int, ...] | None:
    """The registers of a point, None when not all of them were read."""
    if point.count == 1:
        word = words.get((point.table, point.address))
        return None if word is None else (word,)
    found = tuple(words.get((point.table, address), -1) for address in range(point.address, point.end))
    return None if -1 in found else found


def exponent_of(page: Page, point: Point, words: Words) -> int | None:
    """The power of ten of a point: 0 without a scale factor, None when its scale factor was not read or is senseless."""
    if point.scale_factor is None:
        return 0
    register = page.register(point.scale_factor)
    found = words_of(register, words)
    if found is None:
        return None
    raw = int(registers_to_raw(register, found))
    return raw if abs(raw) <= LARGEST_EXPONENT else None


def decode_point(page: Page, point: Point, words: Words) -> tuple[float | None, Quality] | None:
    """Value and quality of a point from what was read; None when it was not read."""
    found = words_of(point, words)
    if found is None:
        return None
    exponent = exponent_of(page, point, words)
    if exponent is None:
        return None, Quality.BAD
    value = decode(point, found, exponent)
    return value, Quality.BAD if value is None else quality_of(page, point, words)


def quality_of(page: Page, point: Point, words: Words) -> Quality:
    """What the device itself says about a value; good when the page names no quality register."""
    if point.quality is None:
        return Quality.GOOD
    found = words_of(page.register(point.quality), words)
    if found is None:
        return Quality.SUSPECT
    return {0: Quality.GOOD, 1: Quality.SUSPECT}.get(int(registers_to_raw(page.register(point.quality), found)), Quality.BAD)


def _data(point: Point, registers: Sequence[int]) -> bytes:
    """The bytes of a value, most significant first."""
    words = tuple(registers) if point.word_order == "big" else tuple(registers)[::-1]
    if point.byte_swap:
        words = tuple(((w & 0xFF) << 8) | (w >> 8) for w in words)
    return struct.pack(f">{point.count}H", *words)


def _number(point: Point, raw: float) -> bytes:
    if point.type == "float32":
        try:
            return struct.pack(">f", raw)
        except OverflowError:
            raise DeviceRefused(f"{point.name}: {raw} does not fit a float32") from None
    low, high = RANGES[point.type]
    if not low <= raw <= high:
        raise DeviceRefused(f"{point.name}: {raw} does not fit {point.type} ({low} to {high})")
    return struct.pack(FORMATS[point.type], int(raw))


def _text(point: Point, raw: str) -> bytes:
    data = raw.encode("ascii", "replace")
    if len(data) > 2 * point.count:
        raise DeviceRefused(f"{point.name}: {raw!r} does not fit {2 * point.count} characters")
    return data.ljust(2 * point.count, b"\0")


def _code(point: Point, value: float) -> int:
    for raw, ours in point.values:
        if ours == value:
            return raw
    raise DeviceRefused(f"{point.name}: the device has no code for {value}")
