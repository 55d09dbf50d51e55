"""The demo's counterparty: a simulated OpenADR 3 head-end on this machine that calls once, and the three files that join the site to it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

from ems.program.channel import FILE_NAME as CHANNELS
from ems.program.enrolment import FILE_NAME as ENROLMENTS
from ems.program.store import FILE_NAME as STORE
from ems.timegrid import interval_start
from simulators.openadr3.serve import PROGRAM, SITE

QUARTER_S = 900
NOTICE = timedelta(minutes=5)  # at least, of site time
LENGTH = timedelta(minutes=15)
SECRET = "head-end.secret"


def join_head_end(folder: Path, port: int, limit_kw: float) -> bool:
    """Writes enrolments.yaml, channels.yaml and the secret into a state directory; False where the site is joined somewhere already."""
    if (folder / CHANNELS).exists() or (folder / ENROLMENTS).exists():
        return False
    enrolment = {
        "program": "nonfirm-connection",
        "status": "active",
        "since": "2024-01-01",
        "level_kw": 0.5 * limit_kw,
        "constant_kw": limit_kw,
    }
    channel = {
        "id": "head-end",
        "profile": "openadr-3.1",
        "url": f"http://127.0.0.1:{port}",
        "programs": {PROGRAM: "nonfirm-connection"},
        "client_id": SITE.id,
        "secret_file": SECRET,
        "poll_s": 20,
    }
    (folder / SECRET).write_text(SITE.secret + "\n")
    (folder / ENROLMENTS).write_text(json.dumps({"enrolments": [enrolment]}))
    (folder / CHANNELS).write_text(json.dumps({"channels": [channel]}))
    return True


def called_at(now: datetime) -> datetime:
    """Where the one call begins: on a quarter of an hour, with its notice."""
    return interval_start(now + NOTICE + timedelta(seconds=QUARTER_S - 1), QUARTER_S)


def event_lines(folder: Path) -> list[str]:
    """What became of the calls, from the record of the run; [] where there is none."""
    from ems.office.grid_events import shown_events
    from ems.program.status import EventStatus, fold
    from ems.program.store import EventStore

    if not (folder / STORE).exists():
        return []
    found: dict[str, EventStatus] = {}
    store = EventStore(folder / STORE)
    for record in store.since():
        if record.event and (record.event in found or record.kind == "state"):
            status = fold(found.get(record.event), record)
            found |= {record.event: status} if status is not None else {}
    store.close()
    newest = max((s.event.end for s in found.values() if s.event.intervals), default=None)
    return [] if newest is None else [f"grid event of {e.program}: {e.said('UTC')} (UTC)" for e in shown_events(found.values(), newest)]
