"""The programmes known: found, read, and checked beyond what the schema can say."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from zoneinfo import available_timezones

from ems.errors import Complaint, ConfigError, DataError
from ems.nearest import near_miss
from ems.program.methods import METHODS, method_of
from ems.program.schema import ProgramFile
from ems.resources import bundled, resolve
from ems.site.source import Source, in_order, read_source, validated

FOLDER = "config/programs"
NEEDS = {"capacity": ("payments",), "energy": ("payments", "baseline"), "peak_tag": ("peak",), "connection": ("is_mandatory",)}


def program_paths(folder: Path | None = None) -> list[Path]:
    """The programme files of a folder, by default the shipped ones, by name."""
    return sorted((folder or bundled(FOLDER)).glob("*.yaml"))


def known_programs(beside: Path) -> dict[str, Path]:
    """Every programme the file `beside` may name: the shipped ones, and a site's own in `config/programs` of a folder above it."""
    own = [p for folder in reversed(beside.resolve().parents) for p in program_paths(folder / FOLDER)]
    return {p.stem: p for p in (*program_paths(), *own)}


def load_program(path: Path | str) -> ProgramFile:
    """The programme of a file. Raises ConfigError with every complaint at once."""
    source = read_source(path)
    file = validated(source, ProgramFile)
    complaints = [*_faults(source, file)]
    if complaints:
        raise ConfigError(in_order(complaints))
    return file


def find_program(name: str, beside: Path) -> ProgramFile:
    """The programme of that name or path; DataError when there is none."""
    return load_program(program_path(name, beside))


def program_path(name: str, beside: Path) -> Path:
    """The file of a programme; DataError when there is none."""
    try:
        return resolve("programs", name, beside)
    except FileNotFoundError:
        raise DataError(f"no programme {name}{near_miss(name, known_programs(beside))}") from None


def lint(paths: Sequence[Path]) -> list[Complaint]:
    """Every complaint about programme files, also about how they name each other."""
    complaints: list[Complaint] = []
    names = {p.stem for p in (*paths, *program_paths())}
    for path in paths:
        try:
            load_program(path)
            complaints += _partner_faults(read_source(path), names)
        except ConfigError as error:
            complaints += error.complaints
    return in_order(complaints)


def schema_text() -> str:
    """The JSON schema of a programme file, as published beside the files."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **ProgramFile.model_json_schema(by_alias=True)}
    return json.dumps(schema, indent=1, sort_keys=True) + "\n"


def _faults(source: Source, file: ProgramFile) -> Iterator[Complaint]:
    if file.name != source.path.stem:
        yield source.complaint(("name",), f"the name of the file, {source.path.stem}")
    if file.time_zone not in available_timezones():
        yield source.complaint(("time_zone",), "an IANA zone" + near_miss(file.time_zone, available_timezones())[:60])
    for name in type(file.rules).model_fields:
        versions = getattr(file.rules, name) or []
        for number, rule in enumerate(versions):
            where = ("rules", name, number) if isinstance(source.at(("rules", name)), list) else ("rules", name)
            if rule.source not in file.sources:
                yield source.complaint((*where, "source"), "a key of sources" + near_miss(rule.source, file.sources))
            if rule.effective in [r.effective for r in versions[:number]]:
                yield source.complaint((*where, "effective"), "a day no other version of this rule has")
    for name in NEEDS.get(file.kind, ()):
        if getattr(file.rules, name) is None:
            yield source.complaint(("rules", name), f"this rule, which a programme of kind {file.kind} needs")
    yield from _baseline_faults(source, file)


def _baseline_faults(source: Source, file: ProgramFile) -> Iterator[Complaint]:
    """A method there is, with values it has; pay per delivery needs a baseline to measure it by."""
    versions = file.rules.baseline or []
    for number, rule in enumerate(versions):
        where = ("rules", "baseline", number) if isinstance(source.at(("rules", "baseline")), list) else ("rules", "baseline")
        if rule.value.method not in METHODS:
            yield source.complaint((*where, "value", "method"), "a method" + near_miss(rule.value.method, METHODS))
            continue
        try:
            method_of(rule.value.method, rule.value.with_)
        except DataError as error:
            yield source.complaint((*where, "value", "with"), str(error))
    paid = [p for rule in file.rules.payments or [] for p in rule.value if p.per == "kwh"]
    if paid and not versions:
        yield source.complaint(("rules", "baseline"), "this rule: pay per kWh delivered needs a baseline")


def _partner_faults(source: Source, names: set[str]) -> Iterator[Complaint]:
    raw = source.at(("rules", "stacking"))
    for number, rule in enumerate(raw if isinstance(raw, list) else [raw]):
        base = ("rules", "stacking", number) if isinstance(raw, list) else ("rules", "stacking")
        value = rule.get("value", {}) if isinstance(rule, dict) else {}
        for key in ("nested_with", "not_with"):
            for place, name in enumerate(value.get(key, [])):
                if name not in names:
                    yield source.complaint((*base, "value", key, place), "the name of a programme file" + near_miss(name, names))
