"""Operator files as plain data that remembers where everything stood, so that every fault is reported at once with its line and column.

`read_source(path)` reads one file, `validated(source, Model)` turns it into a pydantic model. Sites, scenarios, tariffs and device pages
all come in through here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from ems.errors import Complaint, ConfigError
from ems.site.wording import expectation
from ems.site.yaml_reader import KeyPath, Mark, Reader, compact, compose_mapping, dotted, read_text

M = TypeVar("M", bound=BaseModel)


class FileModel(BaseModel):
    """A part of an operator's file: an unknown key, a quoted number or a NaN is an error; defaults are validated as well."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, validate_default=True)


def parse_instant(value: object) -> object:
    """An instant in UTC from ISO text such as `2024-08-19T05:00:00Z`; an aware instant is taken as well."""
    try:
        instant = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        instant = None
    if not isinstance(instant, datetime) or instant.tzinfo is None:
        raise ValueError("an instant with its offset from UTC, such as 2024-08-19T05:00:00Z")
    return instant.astimezone(UTC)


Instant = Annotated[datetime, BeforeValidator(parse_instant)]


class Missing:
    """The value of a key that is not there."""

    def __repr__(self) -> str:
        return "(missing)"


MISSING = Missing()


@dataclass(frozen=True)
class Source:
    """The data of a file (dicts, lists, str, int, float, bool, None) with the place of every key and list item by its path."""

    path: Path
    data: Any
    marks: Mapping[KeyPath, Mark]
    complaints: tuple[Complaint, ...] = ()  # duplicate keys and the like: the data is usable, the file is not

    def complaint(self, where: KeyPath, expected: str, value: object = ...) -> Complaint:
        """A fault at a path; the value standing there unless another is given. A missing key is reported at its nearest parent."""
        mark = self.mark(where)
        there = self.at(where) if value is ... else value
        text = repr(there) if isinstance(there, Missing) else compact(there)
        return Complaint(mark.file, mark.line, mark.column, dotted(where), text, expected)

    def mark(self, where: KeyPath) -> Mark:
        """The place of a path, or of the nearest parent that has one."""
        for length in range(len(where), -1, -1):
            if where[:length] in self.marks:
                return self.marks[where[:length]]
        return Mark(str(self.path), 1, 1)

    def origin(self, where: KeyPath) -> Path:
        """The file that the value at a path came from; the source's own file when that is not on disk."""
        file = Path(self.mark(where).file)
        return file if file.is_file() else self.path

    def at(self, where: KeyPath) -> Any:
        """The value at a path, `MISSING` when there is none."""
        here = self.data
        for step in where:
            if not has(here, step):
                return MISSING
            here = here[step]
        return here

    def part(self, *where: str | int) -> Source:
        """The part of the file below a path as a source of its own, which still points into the whole file."""
        data = self.at(where)
        marks = {path[len(where) :]: mark for path, mark in self.marks.items() if path[: len(where)] == where}
        return Source(self.path, None if data is MISSING else data, marks, self.complaints)

    def overlaid(self, other: Source, where: KeyPath = ()) -> Source:
        """This source with another deep-merged at a path: mappings joined, anything else replaced. Faults keep their own file."""
        marks = dict(self.marks)
        for path, mark in other.marks.items():
            if not (isinstance(self.at((*where, *path)), Mapping) and isinstance(other.at(path), Mapping)):
                marks[(*where, *path)] = mark
        data = put(self.data, where, merge(self.at(where), other.data))
        new = tuple(c for c in other.complaints if c not in self.complaints)
        return Source(self.path, data, marks, self.complaints + new)


def read_source(path: Path | str) -> Source:
    """The data of a YAML 1.2 file with positions. Raises ConfigError when it cannot be read or is not one YAML mapping."""
    return parse_source(read_text(Path(path)), Path(path))


def parse_source(text: str, path: Path) -> Source:
    """As read_source, for text already in memory; `path` is the name used in complaints."""
    reader = Reader(path)
    data = reader.value(compose_mapping(text, path), ())
    return Source(path, data, reader.marks, tuple(reader.complaints))


def overrides_source(overrides: Mapping[str, Any] | Source | None) -> Source:
    """Overrides as a source; plain data is pointed to as the file `overrides`. Raises ConfigError when they are no mapping."""
    if isinstance(overrides, Source):
        if overrides.data is not None and not isinstance(overrides.data, Mapping):
            raise ConfigError([overrides.complaint((), "a mapping of site keys to values")])
        return Source(overrides.path, overrides.data or {}, overrides.marks, overrides.complaints)
    data = dict(overrides or {})
    return Source(Path("overrides"), data, {path: Mark("overrides", 1, 1) for path in paths(data)})


def validated(source: Source, model: type[M]) -> M:
    """The file as a model. Raises ConfigError with every complaint at once, duplicate keys included."""
    try:
        result = model.model_validate(source.data)
    except ValidationError as error:
        raise ConfigError(in_order([*source.complaints, *schema_complaints(source, model, error)])) from None
    if source.complaints:
        raise ConfigError(in_order(source.complaints))
    return result


def schema_complaints(source: Source, model: type[BaseModel], error: ValidationError) -> list[Complaint]:
    """The errors of pydantic as complaints at their places in the file."""
    faults = error.errors(include_url=False)
    return [source.complaint(data_path(source.data, fault["loc"]), expectation(fault, model)) for fault in faults]


def in_order(complaints: list[Complaint] | tuple[Complaint, ...]) -> list[Complaint]:
    """By file, line and column, each once."""
    return sorted(dict.fromkeys(complaints), key=lambda c: (c.file, c.line, c.column, c.key))


def data_path(data: Any, loc: tuple[str | int, ...]) -> KeyPath:
    """The path in the file meant by pydantic's location, which also names union members and key checks that are in no file."""
    where: list[str | int] = []
    here = data
    for number, step in enumerate(loc):
        if has(here, step):
            where.append(step)
            here = here[step]
        elif number == len(loc) - 1 and isinstance(here, Mapping) and step != "[key]":
            where.append(step)
    return tuple(where)


def has(here: Any, step: str | int) -> bool:
    """True when a mapping or list has an entry there."""
    return (isinstance(here, Mapping) and step in here) or (isinstance(here, list) and isinstance(step, int) and step < len(here))


def merge(below: Any, above: Any) -> Any:
    """`above` laid over `below`: mappings joined key by key, anything else replaced."""
    if not (isinstance(below, Mapping) and isinstance(above, Mapping)):
        return above
    return {**below, **{key: merge(below[key], value) if key in below else value for key, value in above.items()}}


def put(data: Any, where: KeyPath, value: Any) -> Any:
    """A copy of mappings with the value at a path replaced."""
    if not where:
        return value
    return {**data, where[0]: put(data.get(where[0], {}), where[1:], value)}


def paths(data: Any, where: KeyPath = ()) -> Iterator[KeyPath]:
    """Every path in plain data, the root included."""
    yield where
    entries = data.items() if isinstance(data, Mapping) else enumerate(data) if isinstance(data, list) else ()
    for key, value in entries:
        yield from paths(value, (*where, key))
