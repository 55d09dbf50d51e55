"""A device page: what is known about one type of equipment, as frozen data. Standard library only.

Pages are written in YAML (`page_file.py` reads them) and travel to the control process as JSON. A value in our unit and sign is

    ours = sign * (raw * 10^scale_factor * scale + offset)

`Point.name` of a reading or command is a name of `ems/assets/<kind>/model.py`; the name of an auxiliary register is the maker's own.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

WIDTH = {"int16": 1, "uint16": 1, "int32": 2, "uint32": 2, "float32": 2, "uint64": 4}  # registers per type; a string says its count
LEASES = ("reversion_timer", "heartbeat", "vendor_timeout", "none")
EEPROM_WRITES_PER_DAY = 27  # 100,000 writes in ten years
LEASE_SECONDS = "lease_s"  # in a write sequence: the lease in seconds, instead of a number


@dataclass(frozen=True)
class Point:
    """One value in one or more registers. `address` is what goes on the wire (counted from 0)."""

    name: str
    address: int
    table: str  # "holding" (function 3) or "input" (function 4)
    type: str
    count: int  # registers
    word_order: str  # "big": high word first
    byte_swap: bool
    scale: float
    offset: float
    sign: int
    scale_factor: str | None  # auxiliary register that holds a power of ten
    unit: str  # of the value on the wire, as the maker writes it
    invalid: tuple[int, ...]  # raw values that mean "no value"
    values: tuple[tuple[int, float], ...]  # raw -> ours where the device speaks in codes; any other code is no value
    quality: str | None  # auxiliary register: 0 good, 1 suspect, anything else bad
    default: float | None  # raw value an auxiliary register starts with when the page is served
    evidence: str  # document | secondary | assumed
    source: str

    @property
    def end(self) -> int:
        """The first address after this point."""
        return self.address + self.count


@dataclass(frozen=True)
class Command:
    """A point we may write, in kW and our sign, within `[min_kw, max_kw]`."""

    point: Point
    read_back: str | None  # reading or auxiliary register to compare with; None: the command register itself
    min_kw: float
    max_kw: float
    min_write_interval_s: float  # site seconds between two writes
    memory: str  # "volatile" or "eeprom"; eeprom is never rewritten to keep a lease
    tolerance_kw: float  # read-back may differ by this much beyond one step of the register
    max_writes_per_day: int | None = None  # wear budget; None: EEPROM_WRITES_PER_DAY for memory that wears, none for volatile memory

    @property
    def daily_writes(self) -> int | None:
        """The wear budget in writes a day, None when there is none."""
        return self.max_writes_per_day or (EEPROM_WRITES_PER_DAY if self.memory == "eeprom" else None)

    @property
    def name(self) -> str:
        """The command's name in the asset model."""
        return self.point.name


@dataclass(frozen=True)
class Lease:
    """How the device lets a setpoint lapse by itself.

    Arming writes `before`, the commands, `after`; values are numbers or "lease_s". A heartbeat needs only its counter afterwards, a
    reversion timer or vendor time-out is armed again.
    """

    kind: str
    seconds: str | None  # auxiliary register with the lease in seconds
    enable: str | None  # auxiliary register: 1 follows the command, 0 lets go
    counter: str | None  # heartbeat register: any new value but 0 keeps the lease, 0 lets go
    before: tuple[tuple[str, float | str], ...]
    after: tuple[tuple[str, float | str], ...]
    release: tuple[tuple[str, float], ...]  # what lets go at once
    fed_by_reads: bool  # reading alone keeps the lease: the poller then stops with the decisions
    default_s: float  # lease of a vendor time-out that cannot be set

    @property
    def is_settable(self) -> bool:
        """True when the master says how long the lease is."""
        return any(value == LEASE_SECONDS for _, value in (*self.before, *self.after))


@dataclass(frozen=True)
class Identity:
    """A register that must hold a value before anything else of the device is believed."""

    register: str
    equals: float | str


@dataclass(frozen=True)
class Page:
    """Everything known about one type of device."""

    name: str
    title: str
    asset_kind: str
    source: str
    is_generic: bool  # no maker's document behind it
    max_registers: int  # per read
    max_gap: int  # unused registers a read may span
    gaps: str  # what the device answers for registers between its points: "zeros" or "error"
    write_function: int  # 6 or 16
    settle_s: float  # site seconds the device may take to show a new command
    points: tuple[Point, ...]
    registers: tuple[Point, ...]
    commands: tuple[Command, ...]
    lease: Lease
    identity: tuple[Identity, ...]
    image: tuple[tuple[int, str], ...]  # (address, hex) of holding registers served as they stand

    def register(self, name: str) -> Point:
        """The auxiliary register of that name; KeyError when the page has none."""
        return next_named(self.registers, name)

    def reading(self, name: str) -> Point:
        """The reading of that name; KeyError when the page has none."""
        return next_named(self.points, name)

    def command(self, name: str) -> Command:
        """The command of that name; KeyError when the page has none."""
        for command in self.commands:
            if command.name == name:
                return command
        raise KeyError(name)

    def read_back_point(self, command: Command) -> Point:
        """Where a command is read back."""
        if command.read_back is None:
            return command.point
        return next_named((*self.points, *self.registers), command.read_back)

    @property
    def assumed_commands(self) -> tuple[str, ...]:
        """Commands nobody has a document for; they must stay on loopback."""
        return tuple(c.name for c in self.commands if c.point.evidence == "assumed")


def next_named(points: tuple[Point, ...], name: str) -> Point:
    """The point of that name; KeyError when there is none."""
    for point in points:
        if point.name == name:
            return point
    raise KeyError(name)


def page_to_json(page: Page) -> str:
    """The page as one line of JSON."""
    return json.dumps(asdict(page))


def page_from_json(text: str) -> Page:
    """The page back from JSON; equal to the one written."""
    return page_from_data(json.loads(text))


def page_from_data(data: dict[str, Any]) -> Page:
    """The page from decoded JSON; KeyError or TypeError on anything else."""
    lease = data["lease"]
    return Page(
        **{
            **data,
            "points": tuple(_point(p) for p in data["points"]),
            "registers": tuple(_point(p) for p in data["registers"]),
            "commands": tuple(Command(**{**c, "point": _point(c["point"])}) for c in data["commands"]),
            "lease": Lease(**{**lease, **{k: _pairs(lease[k]) for k in ("before", "after", "release")}}),
            "identity": tuple(Identity(**i) for i in data["identity"]),
            "image": _pairs(data["image"]),
        }
    )


def _point(data: dict[str, Any]) -> Point:
    return Point(**{**data, "invalid": tuple(data["invalid"]), "values": _pairs(data["values"])})


def _pairs(rows: list[list[Any]]) -> tuple[Any, ...]:
    return tuple(tuple(row) for row in rows)
