"""Operator files as plain data that remembers where everything stood: YAML 1.2, every fault reported at once with its line and column.

`read_source(path)` reads one file, `validated(source, Model)` turns it into a pydantic model. Sites, scenarios, tariffs and device pages
all come in through here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from ems.errors import Complaint, ConfigError
from ems.site.wording import expectation

MAX_BYTES = 1 << 20
MAX_NODES = 200_000  # aliases multiply; a file of 1 MiB can't hold more honest nodes
MAX_DEPTH = 50

Path_ = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)


class FileModel(BaseModel):
    """A part of an operator's file: an unknown key, a quoted number or a NaN is an error."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def parse_instant(value: object) -> object:
    """An aware UTC instant from ISO text such as `2024-08-19T05:00:00Z`."""
    if not isinstance(value, str):
        raise ValueError("an instant such as 2024-08-19T05:00:00Z")
    try:
        instant = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError("an instant such as 2024-08-19T05:00:00Z") from None
    if instant.tzinfo is None:
        raise ValueError("an instant with its offset from UTC, such as 2024-08-19T05:00:00Z")
    return instant


Instant = Annotated[datetime, BeforeValidator(parse_instant)]


class Mark(NamedTuple):
    """A place in a file, counted from 1."""

    file: str
    line: int
    column: int


@dataclass(frozen=True)
class Source:
    """The data of a file (dicts, lists, str, int, float, bool, None) with the place of every key and list item by its path."""

    path: Path
    data: Any
    marks: Mapping[Path_, Mark]
    complaints: tuple[Complaint, ...] = ()  # duplicate keys and the like: the data is usable, the file is not

    def complaint(self, where: Path_, expected: str, value: object = ...) -> Complaint:
        """A fault at a path; the value standing there unless another is given. A missing key is reported at its nearest parent."""
        mark = self.mark(where)
        shown = self.at(where) if value is ... else value
        return Complaint(mark.file, mark.line, mark.column, dotted(where), compact(shown), expected)

    def mark(self, where: Path_) -> Mark:
        """The place of a path, or of the nearest parent that has one."""
        for length in range(len(where), -1, -1):
            if where[:length] in self.marks:
                return self.marks[where[:length]]
        return Mark(str(self.path), 1, 1)

    def at(self, where: Path_) -> Any:
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

    def overlaid(self, other: Source, where: Path_ = ()) -> Source:
        """This source with another deep-merged at a path: mappings are joined, anything else is replaced. Faults point to their own file."""
        data = put(self.data, where, merge(self.at(where), other.data))
        marks = {**self.marks, **{(*where, *path): mark for path, mark in other.marks.items() if path or not where}}
        return Source(self.path, data, marks, self.complaints + tuple(c for c in other.complaints if c not in self.complaints))


class Missing:
    """The value of a key that is not there."""

    def __repr__(self) -> str:
        return "(missing)"


MISSING = Missing()


def read_source(path: Path | str) -> Source:
    """The data of a YAML 1.2 file with positions. Raises ConfigError when it cannot be read or is not one YAML mapping."""
    path = Path(path)
    return parse_source(read_text(path), path)


def parse_source(text: str, path: Path) -> Source:
    """As read_source, for text already in memory; `path` is the name used in complaints."""
    try:
        root = YAML(typ="rt", pure=True).compose(text)
    except MarkedYAMLError as error:
        raise ConfigError([syntax_complaint(error, path, text)]) from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise ConfigError([whole_file(path, first_line(error), "YAML 1.2 text")]) from None
    if not isinstance(root, MappingNode):
        raise ConfigError([whole_file(path, "nothing" if root is None else "no mapping", "keys with values, as `name: demo`")])
    reader = _Reader(path)
    return Source(path, reader.value(root, ()), reader.marks, tuple(reader.complaints))


def overrides_source(overrides: Mapping[str, Any] | Source | None) -> Source:
    """Overrides as a source: plain mappings are pointed to as the file `overrides`."""
    if isinstance(overrides, Source):
        return Source(overrides.path, overrides.data or {}, overrides.marks, overrides.complaints)
    data = dict(overrides or {})
    return Source(Path("overrides"), data, {path: Mark("overrides", 1, 1) for path in paths(data)})


def validated(source: Source, model: type[M]) -> M:
    """The file as a model. Raises ConfigError with every complaint at once, duplicate keys included."""
    try:
        result = model.model_validate(source.data)
    except ValidationError as error:
        raise ConfigError(sorted_complaints([*source.complaints, *schema_complaints(source, model, error)])) from None
    if source.complaints:
        raise ConfigError(list(source.complaints))
    return result


def schema_complaints(source: Source, model: type[BaseModel], error: ValidationError) -> list[Complaint]:
    """The errors of pydantic as complaints at their places in the file."""
    found = []
    for fault in error.errors(include_url=False):
        where = data_path(source.data, fault["loc"])
        found.append(source.complaint(where, expectation(fault, model)))
    return found


def sorted_complaints(complaints: list[Complaint]) -> list[Complaint]:
    """By file, line and column, each once."""
    return sorted(dict.fromkeys(complaints), key=lambda c: (c.file, c.line, c.column, c.key))


def data_path(data: Any, loc: tuple[str | int, ...]) -> Path_:
    """The path in the file meant by pydantic's location, which also names union members that are in no file."""
    where: list[str | int] = []
    here = data
    for number, step in enumerate(loc):
        if has(here, step):
            where.append(step)
            here = here[step]
        elif number == len(loc) - 1 and isinstance(here, dict):
            where.append(step)
    return tuple(where)


def has(here: Any, step: str | int) -> bool:
    """True when a mapping or list has an entry there."""
    return (isinstance(here, dict) and step in here) or (isinstance(here, list) and isinstance(step, int) and step < len(here))


def merge(below: Any, above: Any) -> Any:
    """`above` laid over `below`: mappings joined key by key, anything else replaced."""
    if not (isinstance(below, Mapping) and isinstance(above, Mapping)):
        return above
    return {**below, **{key: merge(below[key], value) if key in below else value for key, value in above.items()}}


def put(data: Any, where: Path_, value: Any) -> Any:
    """A copy of mappings with the value at a path replaced."""
    if not where:
        return value
    return {**data, where[0]: put(data.get(where[0], {}), where[1:], value)}


def paths(data: Any, where: Path_ = ()) -> Iterator[Path_]:
    """Every path in plain data, the root included."""
    yield where
    entries = data.items() if isinstance(data, Mapping) else enumerate(data) if isinstance(data, list) else ()
    for key, value in entries:
        yield from paths(value, (*where, key))


def dotted(where: Path_) -> str:
    """`feeders[0].limit_kw` from a path."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in where)
    return text.removeprefix(".") or "file"


def compact(value: object, width: int = 60) -> str:
    """A value on one short line, as it would stand in a file."""
    if isinstance(value, Missing):
        return repr(value)
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"


def read_text(path: Path) -> str:
    """The text of an operator's file, at most 1 MiB of UTF-8."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError([whole_file(path, error.strerror or "unreadable", "a file that can be read")]) from None
    if len(raw) > MAX_BYTES:
        raise ConfigError([whole_file(path, f"more than {MAX_BYTES} bytes", "a file of at most 1 MiB")])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError([Complaint(str(path), line, 1, "file", f"byte 0x{raw[error.start]:02x}", "UTF-8 text")]) from None


def whole_file(path: Path, value: str, expected: str) -> Complaint:
    """A complaint about a file as a whole."""
    return Complaint(str(path), 1, 1, "file", value, expected)


def first_line(error: Exception) -> str:
    """The first line of an error's text."""
    return compact(str(error).split("\n", 1)[0] or type(error).__name__)


def syntax_complaint(error: MarkedYAMLError, path: Path, text: str) -> Complaint:
    """Where the YAML itself breaks; a tab is named as such."""
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark is not None else (0, 0)
    lines = text.splitlines()
    shown = lines[line] if line < len(lines) else ""
    problem = (error.problem or "a syntax error").replace("\t", "\\t")
    if "\t" in shown[: column + 1]:
        expected = "spaces, never tabs, before a key"
    else:
        expected = f"valid YAML ({problem})"
    return Complaint(str(path), line + 1, column + 1, "yaml", compact(shown) or "end of file", expected)


@dataclass
class _Reader:
    """Builds plain data from composed nodes and notes places and faults on the way."""

    path: Path
    marks: dict[Path_, Mark] = field(default_factory=dict)
    complaints: list[Complaint] = field(default_factory=list)
    nodes: int = 0

    def value(self, node: Node, where: Path_) -> Any:
        """The data of a node; aliases are followed within the bounds of size and depth."""
        self.nodes += 1
        if self.nodes > MAX_NODES or len(where) > MAX_DEPTH:
            raise ConfigError(
                [whole_file(self.path, "too many or too deeply nested values", f"at most {MAX_DEPTH} levels, no alias in itself")]
            )
        self.marks.setdefault(where, self.mark(node))
        if isinstance(node, MappingNode):
            return self.mapping(node, where)
        if isinstance(node, SequenceNode):
            return [self.item(child, (*where, number)) for number, child in enumerate(node.value)]
        return self.scalar(node, where)

    def item(self, node: Node, where: Path_) -> Any:
        return self.value(node, where)

    def mapping(self, node: MappingNode, where: Path_) -> dict[str, Any]:
        result: dict[str, Any] = {}
        first: dict[str, int] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value) if isinstance(key_node, ScalarNode) else "?"
            mark = self.mark(key_node)
            place = (*where, key)
            if not isinstance(key_node, ScalarNode) or key == "<<":
                self.complain(mark, place, "", "a plain key (no merge key, no list)")
            elif key in result:
                self.complain(mark, place, self.shown(value_node), f"each key once (first on line {first[key]})")
            else:
                first[key] = mark.line
                self.marks[place] = mark
                result[key] = self.value(value_node, place)
        return result

    def scalar(self, node: ScalarNode, where: Path_) -> Any:
        kind = str(node.tag).rsplit(":", 1)[-1]
        text = str(node.value)
        try:
            if kind == "int":
                return parse_int(text)
            if kind == "float":
                return parse_float(text)
        except ValueError:
            return text
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() == "true"
        if str(node.tag).startswith("!"):
            self.complain(self.mark(node), where, text, "a plain value without a tag")
        return text

    def mark(self, node: Node) -> Mark:
        return Mark(str(self.path), node.start_mark.line + 1, node.start_mark.column + 1)

    def shown(self, node: Node) -> str:
        return str(node.value) if isinstance(node, ScalarNode) else "…"

    def complain(self, mark: Mark, where: Path_, value: str, expected: str) -> None:
        self.complaints.append(Complaint(mark.file, mark.line, mark.column, dotted(where), compact(value), expected))


def parse_int(text: str) -> int:
    """A YAML 1.2 integer: decimal, 0x, 0o or 0b."""
    digits = text.replace("_", "")
    return int(digits, 0) if digits.lstrip("+-")[:2].lower() in {"0x", "0o", "0b"} else int(digits)


def parse_float(text: str) -> float:
    """A YAML 1.2 float, `.inf` and `.nan` included (models refuse both)."""
    plain = text.replace("_", "").lower()
    if plain.lstrip("+-") == ".inf":
        return -math.inf if plain.startswith("-") else math.inf
    return math.nan if plain == ".nan" else float(plain)
