"""YAML 1.2 text into plain data that knows where each key stood. Duplicate keys, tags and merge keys are complaints, not surprises."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from ems.errors import Complaint, ConfigError

MAX_BYTES = 1 << 20
MAX_NODES = 100_000  # aliases multiply; a file of 1 MiB holds no more honest values
MAX_DEPTH = 50

KeyPath = tuple[str | int, ...]


class Mark(NamedTuple):
    """A place in a file, counted from 1."""

    file: str
    line: int
    column: int


@dataclass
class Reader:
    """Builds plain data from composed nodes, and notes places and faults on the way."""

    path: Path
    marks: dict[KeyPath, Mark] = field(default_factory=dict)
    complaints: list[Complaint] = field(default_factory=list)
    nodes: int = 0

    def value(self, node: Node, where: KeyPath) -> Any:
        """The data of a node; aliases are followed within the bounds of size and depth."""
        self.nodes += 1
        if self.nodes > MAX_NODES or len(where) > MAX_DEPTH:
            raise ConfigError([whole_file(self.path, "too many or too deep values", f"at most {MAX_DEPTH} levels, no endless alias")])
        self.marks.setdefault(where, self.mark(node))
        if isinstance(node, MappingNode):
            return self.mapping(node, where)
        if isinstance(node, SequenceNode):
            return [self.value(child, (*where, number)) for number, child in enumerate(node.value)]
        return self.scalar(node, where)

    def mapping(self, node: MappingNode, where: KeyPath) -> dict[str, Any]:
        """A mapping with text keys; of a duplicate the first stands and the second is a complaint."""
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value) if isinstance(key_node, ScalarNode) else "?"
            place = (*where, key)
            mark = self.mark(key_node)
            if not isinstance(key_node, ScalarNode) or key == "<<":
                self.complain(mark, place, shown(value_node), "a plain text key (no merge key, no list)")
            elif key in result:
                self.complain(mark, place, shown(value_node), f"each key once (it stands on line {self.marks[place].line} already)")
            else:
                self.marks[place] = mark
                result[key] = self.value(value_node, place)
        return result

    def scalar(self, node: Node, where: KeyPath) -> Any:
        """A number, true, false, null or text; dates stay text for the model to read."""
        tag, text = str(node.tag), str(node.value)
        if not tag.startswith("tag:yaml.org,2002:"):
            self.complain(self.mark(node), where, text, "a plain value without a tag")
        return plain_value(tag.rsplit(":", 1)[-1], text)

    def mark(self, node: Node) -> Mark:
        """Where a node begins."""
        return Mark(str(self.path), node.start_mark.line + 1, node.start_mark.column + 1)

    def complain(self, mark: Mark, where: KeyPath, value: str, expected: str) -> None:
        """Note a fault of the file that leaves its data usable."""
        self.complaints.append(Complaint(mark.file, mark.line, mark.column, dotted(where), compact(value), expected))


def compose_mapping(text: str, path: Path) -> MappingNode:
    """The root mapping of YAML text. Raises ConfigError at the place where it breaks."""
    try:
        root = YAML(typ="rt", pure=True).compose(text)
    except MarkedYAMLError as error:
        raise ConfigError([syntax_complaint(error, path, text)]) from None
    except RecursionError:
        raise ConfigError([whole_file(path, "too deep values", f"at most {MAX_DEPTH} levels")]) from None
    except (YAMLError, ValueError) as error:
        problem = compact(str(error).split("\n", 1)[0] or type(error).__name__)
        raise ConfigError([whole_file(path, problem, "YAML 1.2 text")]) from None
    if not isinstance(root, MappingNode):
        raise ConfigError([whole_file(path, "nothing" if root is None else "no mapping", "keys with values, as `name: demo`")])
    return root


def read_text(path: Path) -> str:
    """The text of an operator's file, at most 1 MiB of UTF-8. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or str(error)
        raise ConfigError([whole_file(path, problem, "a file that can be read")]) from None
    if len(raw) > MAX_BYTES:
        raise ConfigError([whole_file(path, f"more than {MAX_BYTES} bytes", "a file of at most 1 MiB")])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError([Complaint(str(path), line, 1, "file", f"byte 0x{raw[error.start]:02x}", "UTF-8 text")]) from None


def syntax_complaint(error: MarkedYAMLError, path: Path, text: str) -> Complaint:
    """Where the YAML itself breaks; a tab is named as such."""
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark is not None else (0, 0)
    lines = text.splitlines()
    here = lines[line] if line < len(lines) else ""
    is_tab = "\t" in here[: column + 1]
    expected = "spaces, never tabs, before a key or value" if is_tab else f"valid YAML ({error.problem or 'a syntax error'})"
    return Complaint(str(path), line + 1, column + 1, "yaml", compact(here) or "end of file", expected)


def whole_file(path: Path, value: str, expected: str) -> Complaint:
    """A complaint about a file as a whole."""
    return Complaint(str(path), 1, 1, "file", value, expected)


def plain_value(kind: str, text: str) -> Any:
    """The value of a scalar of a YAML 1.2 kind; text that only looks like a number stays text."""
    try:
        if kind == "int":
            return parse_int(text)
        if kind == "float":
            return parse_float(text)
    except ValueError:
        return text
    if kind == "null":
        return None
    return text.lower() == "true" if kind == "bool" else text


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


def dotted(where: KeyPath) -> str:
    """`feeders[0].limit_kw` from a path."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in where)
    return text.removeprefix(".") or "file"


def compact(value: object, width: int = 60) -> str:
    """A value on one short line, as it would stand in a file."""
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"


def shown(node: Node) -> str:
    """The value of a node in a complaint."""
    return str(node.value) if isinstance(node, ScalarNode) else "…"
