"""The proof of one event in one file: what arrived, what was decided, what was sent, what was metered, and how it was reckoned.

A bundle is a zip of plain files and a manifest with their hashes. Records of other events stay out; their place in the hash chain is
kept as bare hashes, so that the records in the bundle can be shown to stand where they stood.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ems.errors import ConfigError, DataError
from ems.program.enrolment import EnrolmentFile, enrolled_terms
from ems.program.limit_proof import LIMITS, LimitInputs, limit_faults, prove_limits
from ems.program.measure import MeasureInputs, measure_event
from ems.program.meter import MeterSeries
from ems.program.schema import ProgramFile
from ems.program.store import FIRST_HASH, Record, chained, plain_text
from ems.program.terms import Terms, local_day, terms_on
from ems.site.source import parse_source, validated

MANIFEST = "manifest.json"
SHOWN = ("baseline", "settlement", "inputs", "meter")  # parts of the recorded result that stand in files of their own
STAMP = (1980, 1, 1, 0, 0, 0)  # equal content gives an equal file
HOSTILE = (KeyError, ValueError, TypeError, AttributeError, IndexError)


@dataclass(frozen=True)
class Evidence:
    """What goes into a bundle. `chain`: hash by sequence over the whole store; `setpoints`: journal entries as plain data."""

    event: str
    records: Sequence[Record]
    chain: Sequence[str]
    program: str
    program_text: str
    enrolment: EnrolmentFile | None
    setpoints: Iterable[Mapping[str, Any]] = ()


def write_bundle(evidence: Evidence, path: Path) -> dict[str, str]:
    """Writes the bundle; gives the hashes of its files. DataError when it cannot be written."""
    return packed(_files(evidence), {"event": evidence.event, "program": evidence.program}, path)


def packed(texts: Mapping[str, str], head: Mapping[str, str], path: Path) -> dict[str, str]:
    """Writes files and their manifest; gives their hashes. DataError when they cannot be written."""
    files = {name: text.encode() for name, text in texts.items()}
    hashes = {name: hashlib.sha256(body).hexdigest() for name, body in files.items()}
    manifest = json.dumps({"schema": 1, **head, "files": hashes}, sort_keys=True, indent=1)
    try:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
            for name, body in {**files, MANIFEST: manifest.encode()}.items():
                bundle.writestr(zipfile.ZipInfo(name, STAMP), body)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from None
    return hashes


def recompute(path: Path) -> list[str]:
    """What does not agree in a bundle, from the bundle alone; [] when everything does. DataError when it is no bundle."""
    files, manifest = _read(path)
    faults = [
        f"{name}: its hash is not the manifest's"
        for name, expected in manifest["files"].items()
        if hashlib.sha256(files.get(name, b"")).hexdigest() != expected
    ]
    try:
        records = [Record.decode(json.loads(line)) for line in files["records.jsonl"].splitlines() if line]
        proof = limit_faults(files, records) if manifest.get("kind") == LIMITS else _result_faults(files, records)
        return [*faults, *_chain_faults(records, json.loads(files["chain.json"])), *proof]
    except (*HOSTILE, DataError, ConfigError) as error:
        return [*faults, f"cannot be reckoned again: {type(error).__name__}: {error}"]


def write_limit_bundle(evidence: Evidence, inputs: LimitInputs, path: Path) -> dict[str, str]:
    """Writes the bundle of a connection's limits over a time: what was told, what held when, what the meter says. DataError as above."""
    files = _common_files(evidence) | {
        "inputs.json": json.dumps(inputs.encode(), sort_keys=True, indent=1),
        "meter.json": json.dumps(inputs.meter.encode(), sort_keys=True, indent=1),
        "limits.json": json.dumps(prove_limits(inputs, evidence.records), sort_keys=True, indent=1),
    }
    return packed(files, {"kind": LIMITS, "event": evidence.event, "program": evidence.program}, path)


def _common_files(evidence: Evidence) -> dict[str, str]:
    return {
        "records.jsonl": "".join(json.dumps(r.encode(), sort_keys=True) + "\n" for r in evidence.records),
        "chain.json": json.dumps(list(evidence.chain)),
        "program.yaml": evidence.program_text,
        "enrolment.json": "null" if evidence.enrolment is None else evidence.enrolment.model_dump_json(),
        "setpoints.jsonl": "".join(json.dumps(s, sort_keys=True) + "\n" for s in evidence.setpoints),
        "raw_messages.jsonl": "".join(json.dumps(r.body, sort_keys=True) + "\n" for r in evidence.records if r.kind == "message"),
    }


def _files(evidence: Evidence) -> dict[str, str]:
    files = _common_files(evidence)
    result = result_of(evidence.records) or {}
    return files | {f"{name}.json": json.dumps(result[name], sort_keys=True, indent=1) for name in SHOWN if name in result}


def result_of(records: Iterable[Record]) -> dict[str, Any] | None:
    """What was measured and reckoned, as recorded; None before that."""
    found = [r.body["result"] for r in records if r.kind == "state" and r.body.get("to") == "measured"]
    return found[-1] if found else None


def _read(path: Path) -> tuple[dict[str, bytes], dict[str, Any]]:
    try:
        with zipfile.ZipFile(path) as bundle:
            files = {name: bundle.read(name) for name in bundle.namelist()}
        manifest = json.loads(files[MANIFEST])
        if not isinstance(manifest["files"], dict):
            raise ValueError("no list of files")
    except (OSError, zipfile.BadZipFile, *HOSTILE) as error:
        raise DataError(f"{path}: not an evidence bundle ({error})") from None
    return files, manifest


def _chain_faults(records: Sequence[Record], chain: Sequence[str]) -> list[str]:
    faults = []
    for r in records:
        before = chain[r.sequence - 2] if r.sequence > 1 else FIRST_HASH
        own = chained(before, r.sequence, r.at.isoformat(), r.kind, r.event, plain_text(r.body))
        if own != r.hash or chain[r.sequence - 1] != r.hash:
            faults.append(f"record {r.sequence}: its hash does not follow from the one before")
    return faults


def _result_faults(files: Mapping[str, bytes], records: Sequence[Record]) -> list[str]:
    """Baseline and settlement reckoned again must be the recorded ones, and so must the files that show them."""
    recorded = result_of(records)
    if recorded is None or "trouble" in recorded:
        return []
    inputs = MeasureInputs.decode(json.loads(files["inputs.json"]), MeterSeries.decode(json.loads(files["meter.json"])))
    raw = json.loads(files["enrolment.json"])
    enrolment = None if raw is None else EnrolmentFile.model_validate_json(files["enrolment.json"])
    found = json.loads(json.dumps(measure_event(inputs, _terms(files, inputs, enrolment), enrolment)))
    faults = [
        f"{key}: recomputed {_short(found[key])}, recorded {_short(recorded.get(key))}" for key in found if found[key] != recorded.get(key)
    ]
    for name in SHOWN:
        if json.loads(files[f"{name}.json"]) != recorded.get(name):
            faults.append(f"{name}.json is not what was recorded")
    return faults


def _terms(files: Mapping[str, bytes], inputs: MeasureInputs, enrolment: EnrolmentFile | None) -> Terms:
    file = validated(parse_source(files["program.yaml"].decode(), Path("program.yaml")), ProgramFile)
    day = local_day(file, inputs.event.start)
    return enrolled_terms(file, enrolment, day) if enrolment is not None else terms_on(file, day)


def _short(value: Any) -> str:
    text = json.dumps(value, sort_keys=True)
    return text if len(text) <= 60 else f"{text[:57]}..."
