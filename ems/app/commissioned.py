"""The record of what a real site was commissioned with, in its state directory, held against every later start of `ems run`.

The first start writes it. A start with a site file that loosens any of it is refused, one that tightens is not, and the record stays: going
back to what was commissioned is no loosening. A contract cap that the site file leaves to be shared out counts as it came out: where a
smaller hall gives another one more, write the caps down. Only `ems commission`, by a named person with a reason, writes the record anew. A
site of simulated equipment alone has none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from ems.app.runfile import RunFile
from ems.app.statedir import StateDir, prepare, write_whole
from ems.control.commissioned import Bound, Loosened, bounds_of, decode, encode, loosened
from ems.errors import Complaint, ConfigError, EmsError
from ems.site.model import Site

FILE_NAME = "commissioned.json"
MOST_HISTORY = 1000
LIMITS = "point_of_connection.limits."  # a limit that is new tightens: taking it away again goes back to what was commissioned


def hold_commissioned(run_file: RunFile, state: StateDir, now: datetime) -> None:
    """Refuses a site that loosens what was commissioned (ConfigError with every bound); writes what is commissioned for the first time."""
    if run_file.site.is_loopback:
        return
    record = _read(state)
    if record is None:
        _write(state, run_file.site, bounds_of(run_file.site), {"at": now.isoformat(), "by": "first start", "why": "", "loosened": []}, [])
        return
    known = decode(record["bounds"])
    found = loosened(known, run_file.site, now)
    if found:
        raise ConfigError([_complaint(run_file.source, x, record) for x in found])
    new = {key: bound for key, bound in bounds_of(run_file.site).items() if key not in known and not key.startswith(LIMITS)}
    if new:
        added = {"at": now.isoformat(), "by": "start", "why": f"new: {', '.join(sorted(new))}"[:500], "loosened": []}
        _write(state, run_file.site, {**known, **new}, added, record["history"])


def commission(site: Site, state: StateDir, by: str, why: str, now: datetime) -> list[Loosened]:
    """Writes the site's bounds as commissioned by a named person; what that loosens. EmsError without name or reason, and of a site of
    simulated equipment alone: nothing reads its record."""
    if site.is_loopback:
        raise EmsError(f"{site.name} is simulated (every device is on this machine): only real equipment is held to what was commissioned")
    if not by.strip() or not why.strip():
        raise EmsError("a commissioning needs the name of a person and a reason")
    prepare(state)
    try:
        record = _read(state)
    except EmsError as unread:  # a named person looked: what cannot be read is kept beside it, and said
        _path(state).replace(_path(state).with_suffix(".unread"))
        record, why = None, f"{why} ({unread})"
    found = [] if record is None else loosened(decode(record["bounds"]), site, now)
    said = {"at": now.isoformat(), "by": by, "why": why, "loosened": [f"{x.key}: {x.commissioned} -> {x.found}" for x in found]}
    _write(state, site, bounds_of(site), said, [] if record is None else record["history"])
    return found


def _path(state: StateDir) -> Path:
    return state.path / FILE_NAME


def _read(state: StateDir) -> dict[str, Any] | None:
    """The record, None before the first start. EmsError when it cannot be read: nothing is assumed in its place."""
    path = _path(state)
    try:
        if not path.exists():
            return None
        record = json.loads(path.read_text())
        decode(record["bounds"])
        return {"bounds": record["bounds"], "history": list(record["history"]), "at": record["at"], "by": record["by"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EmsError(f"{path}: not the record of a commissioning ({error}); restore it, or `ems commission` after a look") from None


def _write(state: StateDir, site: Site, bounds: Mapping[str, Bound], said: Mapping[str, Any], history: list[Any]) -> None:
    body = {"site": site.name, "at": said["at"], "by": said["by"], "bounds": encode(bounds), "history": [*history, said][-MOST_HISTORY:]}
    write_whole(_path(state), json.dumps(body, indent=1) + "\n")


def _complaint(source: str, found: Loosened, record: Mapping[str, Any]) -> Complaint:
    when = f"as commissioned on {record['at'][:10]} by {record['by']} (loosened only by `ems commission`)"
    try:
        from ems.site.source import read_source

        where = tuple(found.key.split("."))
        return read_source(source).complaint(where, f"{found.commissioned} {when}", found.found)
    except (ConfigError, OSError):
        return Complaint(source, 1, 1, found.key, found.found, f"{found.commissioned} {when}")
