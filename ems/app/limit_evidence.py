"""The bundle of a capacity limit, collected from the record, the history and the journal of the running site."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from ems.app.options import instant_of

if TYPE_CHECKING:
    from ems.office.programs import Programs
    from ems.program.channel import CapacityFile
    from ems.program.desk import Desk
    from ems.program.meter import MeterSeries
    from ems.program.store import Record

USUAL = timedelta(days=1)


def limit_bundle(
    programs: Programs, desk: Desk, name: str, start: str | None, end: str | None, now: datetime, path: Path
) -> dict[str, str] | None:
    """Writes the bundle of a limit (`channel:object`) or of a connection (`channel`); the hashes of its files. None: no limit is so named.
    DataError where the time is none, too long, or not metered."""
    from ems.errors import DataError
    from ems.program.connection import KIND
    from ems.program.evidence import Evidence, write_limit_bundle
    from ems.program.library import program_path
    from ems.program.limit_proof import LONGEST, LimitInputs
    from ems.program.terms import local_day, terms_on

    chain = desk.store.since()
    told = [r for r in chain if r.kind == KIND and name in (r.body["connection"], r.body.get("event"))]
    agreed = connections_of(programs.state_dir, set(desk.enrolments))
    if not told or told[0].body["connection"] not in agreed:
        return None
    connection = told[0].body["connection"]
    capacity, program = agreed[connection]
    first, last = span_of(told if name != connection else [], now)
    first, last = instant_of(start, "--start") if start else first, min(now, instant_of(end, "--end") if end else last)
    if not first < last <= first + LONGEST:
        raise DataError(f"{name}: {first.isoformat()} to {last.isoformat()}: expected some of the past, at most {LONGEST.days} days")
    file = desk.programs[program]
    terms = terms_on(file, local_day(file, first))
    meter = minute_meter(programs, first, last)
    inputs = LimitInputs(connection, capacity, first, last, terms.response_min or 0.0, terms.compliance.interval_min, meter)
    kept = [r for r in chain if r.at < last and ((r.kind == KIND and r.body["connection"] == connection) or _is_raw_of(r, told))]
    text = program_path(program, programs.enrolments_path).read_text()
    setpoints = setpoints_of(programs, first, last)
    hashes = [r.hash for r in chain]
    return write_limit_bundle(Evidence(name, kept, hashes, program, text, desk.enrolments.get(program), setpoints), inputs, path)


def connections_of(state_dir: Path, enrolled: set[str]) -> dict[str, tuple[CapacityFile, str]]:
    """What was agreed with each connection of channels.yaml, and our programme of it."""
    from ems.program.channel import FILE_NAME, load_channels

    file = load_channels(state_dir / FILE_NAME, enrolled)
    found = {c.id: (c.capacity, next(iter(c.programs.values()))) for c in file.channels if c.capacity is not None}
    return found | ({"gateway": (file.gateway.capacity, file.gateway.program)} if file.gateway is not None else {})


def span_of(told: list[Record], now: datetime) -> tuple[datetime, datetime]:
    """From the first to the last hour that the limits of an object speak of; the last day where they say nothing."""
    from ems.program.connection import Told

    intervals = [i for r in told if "told" in r.body for i in Told.decode(r.body["told"]).limits]
    if not intervals:
        return now - USUAL, now
    return min(i.start for i in intervals), min(now, max(i.end for i in intervals))


def minute_meter(programs: Programs, start: datetime, end: datetime) -> MeterSeries:
    """The point of connection by minutes, missing where nothing was measured."""
    from ems.errors import DataError
    from ems.program.meter import on_grid

    rows = programs.ports.minute_rows(start, end)
    if not rows:
        raise DataError(f"the history holds no minute from {start.isoformat()} to {end.isoformat()}")
    seconds = [datetime.fromisoformat(r["start"]).timestamp() for r in rows]
    return on_grid(seconds, [r["poc_kw"] for r in rows], 60.0, 1)


def setpoints_of(programs: Programs, start: datetime, end: datetime) -> list[dict[str, object]]:
    """The cycles of control whose setpoints changed in a time."""
    from ems.app.events import changed_setpoints

    return list(changed_setpoints(programs.state_dir, start, end))


def _is_raw_of(record: Record, told: list[Record]) -> bool:
    """The message that a limit was read from."""
    return record.kind == "message" and record.body.get("sha256") in {r.body.get("sha256") for r in told}
