"""Device pages as an operator writes them: YAML in, `Page` out, every fault with its line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from adapters.modbus.page import WIDTH, Command, Identity, Lease, Page, Point
from ems.assets.battery import model as battery
from ems.assets.cooling import model as cooling
from ems.assets.generator import model as generator
from ems.assets.grid_connection import model as grid_connection
from ems.assets.renewable import model as renewable
from ems.assets.ups import model as ups
from ems.assets.workload import model as workload
from ems.errors import Complaint, ConfigError
from ems.resources import bundled, is_bare, resolve
from ems.site.source import FileModel, Source, read_source, validated
from ems.site.yaml_reader import KeyPath

READINGS = {
    "grid_connection": grid_connection.READINGS,
    "battery": battery.READINGS,
    "ups": ups.READINGS,
    "workload": workload.READINGS,
    "cooling": cooling.READINGS,
    "generator": generator.READINGS,
    "renewable": renewable.READINGS,
}
COMMANDS = {
    "battery": battery.COMMANDS,
    "ups": ups.COMMANDS,
    "workload": workload.COMMANDS,
    "cooling": cooling.COMMANDS,
    "generator": generator.COMMANDS,
    "renewable": renewable.COMMANDS,
}
REQUIRED = {  # without these the device is of no use to the controller
    "grid_connection": ("power_kw",),
    "battery": ("power_kw", "soc"),
    "ups": ("load_kw",),
    "workload": ("power_kw",),
    "cooling": ("power_kw",),
    "generator": ("power_kw",),
    "renewable": ("power_kw",),
}
LABELS = {
    ("ups", "mode"): {name: float(index) for index, name in enumerate(ups.MODES)},
    ("generator", "mode"): {name: float(index) for index, name in enumerate(generator.MODES)},
    ("generator", "start_cause"): {name: float(index) for index, name in enumerate(generator.CAUSES)},
}  # codes a page may spell as words

TypeName = Literal["int16", "uint16", "int32", "uint32", "float32", "uint64", "string"]
Evidence = Literal["document", "secondary", "assumed"]


class PointFile(FileModel):
    """A reading or an auxiliary register. What is left out comes from `defaults`."""

    address: int = Field(ge=0, le=165535, description="register number, counted from address_base")
    table: Literal["holding", "input"] | None = None
    type: TypeName | None = None
    count: int | None = Field(None, ge=1, le=125, description="registers of a string")
    word_order: Literal["big", "little"] | None = None
    byte_swap: bool | None = None
    scale: float = 1.0
    offset: float = 0.0
    sign: Literal[1, -1] = 1
    scale_factor: str | None = None
    unit: str = ""
    invalid: list[int] = []
    values: dict[str, float | str] = {}
    quality: str | None = None
    default: float | None = None
    evidence: Evidence | None = None
    source: str | None = None


class CommandFile(PointFile):
    """A point that may be written, with its limits in kW and our sign."""

    read_back: str | None = None
    min_kw: float
    max_kw: float
    min_write_interval_s: float = Field(0.0, ge=0)
    memory: Literal["volatile", "eeprom"]
    tolerance_kw: float = Field(0.0, ge=0)
    max_writes_per_day: int | None = Field(None, ge=1, le=100_000)


class DefaultsFile(FileModel):
    """What holds for every point that does not say otherwise."""

    table: Literal["holding", "input"] = "holding"
    type: TypeName = "uint16"
    word_order: Literal["big", "little"] = "big"
    byte_swap: bool = False
    invalid: dict[str, int] = {}
    evidence: Evidence | None = None


class LeaseFile(FileModel):
    """How a setpoint lapses by itself; see `Lease`."""

    kind: Literal["reversion_timer", "heartbeat", "vendor_timeout", "none"]
    seconds: str | None = None
    enable: str | None = None
    counter: str | None = None
    before: dict[str, float | Literal["lease_s"]] = {}
    after: dict[str, float | Literal["lease_s"]] = {}
    release: dict[str, float] = {}
    fed_by_reads: bool = False
    default_s: float = Field(60.0, gt=0)


class ImageFile(FileModel):
    """Holding registers served as they stand: headers and unused points of a fixed layout."""

    address: int = Field(ge=0, le=65535)
    hex: str = Field(pattern=r"^([0-9a-f]{4} ?)+$")


class PageFile(FileModel):
    """A device page."""

    title: str
    asset_kind: Literal["grid_connection", "battery", "ups", "workload", "cooling", "generator", "renewable"]
    source: str = Field(min_length=8, description="document, revision, where it can be had")
    generic: bool = False
    address_base: int = Field(0, ge=0, description="the register number that goes on the wire as address 0")
    max_registers: int = Field(125, ge=1, le=125)
    max_gap: int = Field(0, ge=0, le=124)
    gaps: Literal["zeros", "error"] = "error"
    write_function: Literal[6, 16] = 16
    settle_s: float = Field(2.0, ge=0)
    defaults: DefaultsFile = DefaultsFile()
    points: dict[str, PointFile] = Field(min_length=1)
    registers: dict[str, PointFile] = {}
    commands: dict[str, CommandFile] = {}
    lease: LeaseFile = LeaseFile(kind="none", default_s=60.0)
    identity: dict[str, float | str] = {}
    image: list[ImageFile] = []


def load_page(name: str | Path, beside: Path | None = None) -> Page:
    """The page in a file, or of a bare name as sites use it; ConfigError with every complaint, FileNotFoundError for an unknown name."""
    if isinstance(name, Path):
        path = name
    elif is_bare(name) or beside is not None:
        path = resolve("devices", name, beside or bundled("config/sites/any.yaml"))
    else:
        path = Path(name)
    return read_page(read_source(path))


def read_page(source: Source) -> Page:
    """The page in a source; ConfigError with every complaint."""
    file = validated(source, PageFile)
    complaints = list(_complaints(source, file))
    if complaints:
        raise ConfigError(complaints)
    page = _page(source.path.stem, file)
    overlaps = list(_overlaps(source, page))
    if overlaps:
        raise ConfigError(overlaps)
    return page


def _page(name: str, file: PageFile) -> Page:
    return Page(
        name=name,
        title=file.title,
        asset_kind=file.asset_kind,
        source=file.source,
        is_generic=file.generic,
        max_registers=file.max_registers,
        max_gap=file.max_gap,
        gaps=file.gaps,
        write_function=file.write_function,
        settle_s=file.settle_s,
        points=tuple(_point(n, p, file) for n, p in file.points.items()),
        registers=tuple(_point(n, p, file) for n, p in file.registers.items()),
        commands=tuple(_command(n, c, file) for n, c in file.commands.items()),
        lease=_lease(file.lease),
        identity=tuple(Identity(register, value) for register, value in file.identity.items()),
        image=tuple((part.address, part.hex.replace(" ", "")) for part in file.image),
    )


def _point(name: str, point: PointFile, file: PageFile) -> Point:
    kind = point.type or file.defaults.type
    return Point(
        name=name,
        address=point.address - file.address_base,
        table=point.table or file.defaults.table,
        type=kind,
        count=WIDTH.get(kind, point.count or 1),
        word_order=point.word_order or file.defaults.word_order,
        byte_swap=file.defaults.byte_swap if point.byte_swap is None else point.byte_swap,
        scale=point.scale,
        offset=point.offset,
        sign=point.sign,
        scale_factor=point.scale_factor,
        unit=point.unit,
        invalid=tuple(point.invalid) or ((file.defaults.invalid[kind],) if kind in file.defaults.invalid else ()),
        values=tuple((int(raw, 0), _ours(file.asset_kind, name, value)) for raw, value in point.values.items()),
        quality=point.quality,
        default=point.default,
        evidence=point.evidence or file.defaults.evidence or "assumed",
        source=point.source or file.source,
    )


def _command(name: str, command: CommandFile, file: PageFile) -> Command:
    return Command(
        point=_point(name, command, file),
        read_back=command.read_back,
        min_kw=command.min_kw,
        max_kw=command.max_kw,
        min_write_interval_s=command.min_write_interval_s,
        memory=command.memory,
        tolerance_kw=command.tolerance_kw,
        max_writes_per_day=command.max_writes_per_day,
    )


def _lease(lease: LeaseFile) -> Lease:
    return Lease(
        kind=lease.kind,
        seconds=lease.seconds,
        enable=lease.enable,
        counter=lease.counter,
        before=tuple(lease.before.items()),
        after=tuple(lease.after.items()),
        release=tuple(lease.release.items()),
        fed_by_reads=lease.fed_by_reads,
        default_s=lease.default_s,
    )


def _ours(kind: str, name: str, value: float | str) -> float:
    return LABELS[(kind, name)][value] if isinstance(value, str) else float(value)


def _complaints(source: Source, file: PageFile) -> Iterator[Complaint]:
    yield from _unknown_names(source, file)
    yield from _dangling_references(source, file)
    for section in ("points", "registers", "commands"):
        for name, point in getattr(file, section).items():
            yield from _point_complaints(source, file, (section, name), point)
    for name, command in file.commands.items():
        if command.min_kw > command.max_kw:
            yield source.complaint(("commands", name, "min_kw"), f"at most max_kw ({command.max_kw:g})")
        if command.table == "input" or (command.table is None and file.defaults.table == "input"):
            yield source.complaint(("commands", name), "table: holding (input registers can't be written)")
    if file.lease.kind == "heartbeat" and file.lease.counter is None:
        yield source.complaint(("lease",), "counter: the register of the heartbeat")
    counter = file.registers.get(file.lease.counter or "")
    if counter is not None and (counter.type or file.defaults.type) not in {"int16", "uint16", "int32", "uint32"}:
        yield source.complaint(("registers", file.lease.counter or "", "type"), "a whole-number type for a heartbeat")
    if file.lease.kind == "reversion_timer" and file.lease.seconds is None:
        yield source.complaint(("lease",), "seconds: the register of the reversion timer")
    if file.commands and not file.lease.release:
        yield source.complaint(("lease",), "release: what lets go of the device at once")


def _unknown_names(source: Source, file: PageFile) -> Iterator[Complaint]:
    for name in file.points:
        if name not in READINGS[file.asset_kind]:
            yield source.complaint(("points", name), "a reading of the kind: " + ", ".join(READINGS[file.asset_kind]), name)
    for name in file.commands:
        if name not in COMMANDS.get(file.asset_kind, ()):
            yield source.complaint(
                ("commands", name), "a command of the kind: " + ", ".join(COMMANDS.get(file.asset_kind, ("none",))), name
            )
    for name in REQUIRED[file.asset_kind]:
        if name not in file.points:
            yield source.complaint(("points",), f"the reading {name}, which the kind {file.asset_kind} requires", "(missing)")


def _dangling_references(source: Source, file: PageFile) -> Iterator[Complaint]:
    registers = "an entry of registers"
    lease = file.lease
    wanted: list[tuple[KeyPath, str | None]] = [(("lease", key), getattr(lease, key)) for key in ("seconds", "enable", "counter")]
    wanted += [(("lease", part, name), name) for part in ("before", "after", "release") for name in getattr(lease, part)]
    wanted += [(("identity", name), name) for name in file.identity]
    for section in ("points", "registers", "commands"):
        for name, point in getattr(file, section).items():
            wanted += [((section, name, "scale_factor"), point.scale_factor), ((section, name, "quality"), point.quality)]
    for where, name in wanted:
        if name is not None and name not in file.registers:
            yield source.complaint(where, registers, name)
    for name, command in file.commands.items():
        if command.read_back is not None and command.read_back not in {**file.points, **file.registers}:
            yield source.complaint(("commands", name, "read_back"), "an entry of points or registers")


def _point_complaints(source: Source, file: PageFile, where: KeyPath, point: PointFile) -> Iterator[Complaint]:
    kind = point.type or file.defaults.type
    address = point.address - file.address_base
    if not 0 <= address <= 65535:
        yield source.complaint((*where, "address"), f"a register from {file.address_base} to {file.address_base + 65535}")
    if point.evidence is None and file.defaults.evidence is None:
        yield source.complaint((*where, "evidence"), "document, secondary or assumed, here or in defaults")
    if kind == "string" and point.count is None:
        yield source.complaint((*where, "count"), "the number of registers of a string")
    if kind != "string" and point.count not in (None, WIDTH.get(kind)):
        yield source.complaint((*where, "count"), f"{WIDTH[kind]} for {kind}, or nothing")
    if point.scale == 0:
        yield source.complaint((*where, "scale"), "a number other than 0")
    for raw, value in point.values.items():
        if not _is_code(raw):
            yield source.complaint((*where, "values", raw), "a whole number on the left", raw)
        elif isinstance(value, str) and value not in LABELS.get((file.asset_kind, str(where[-1])), {}):
            known = LABELS.get((file.asset_kind, str(where[-1])), {})
            yield source.complaint((*where, "values", raw), "one of " + ", ".join(known) if known else "a number")


def _overlaps(source: Source, page: Page) -> Iterator[Complaint]:
    sections = (
        [("points", p) for p in page.points] + [("registers", p) for p in page.registers] + [("commands", c.point) for c in page.commands]
    )
    taken: dict[tuple[str, int], str] = {}
    for section, point in sections:
        other = next((taken[(point.table, a)] for a in range(point.address, point.end) if (point.table, a) in taken), None)
        if other is not None:
            yield source.complaint((section, point.name, "address"), f"registers that {other} does not use")
        taken.update({(point.table, a): point.name for a in range(point.address, point.end)})


def _is_code(text: str) -> bool:
    try:
        int(text, 0)
    except ValueError:
        return False
    return True
