"""What a control process takes over from the one before it, and what it says of itself when it starts."""

from __future__ import annotations

import importlib.metadata
import sqlite3
import sys
from typing import Any

from ems.app.log import log_line
from ems.app.statedir import StateDir
from ems.errors import DataError
from ems.journal.entry import Entry
from ems.journal.read import last_entry
from ems.journal.segments import NewerVersion
from ems.site.model import Site

MEMORY_FORMAT = 1  # of what control remembers; raised when an older version would misread it


def versions() -> dict[str, str]:
    """What decided: a journal is re-run with the same."""
    try:
        ours = importlib.metadata.version("aidc-ems")
    except importlib.metadata.PackageNotFoundError:
        ours = "not installed"
    return {"aidc-ems": ours, "python": sys.version.split()[0], "sqlite": sqlite3.sqlite_version}


def last_cycle(state: StateDir, site: Site) -> Entry | None:
    """The last cycle of the control process before this one; None on a first start, of another site, or when it cannot be read."""
    try:
        start, cycle = last_entry(state.path, "start"), last_entry(state.path, "cycle")
    except DataError as error:
        log_line("control", "last cycle not read", fields={"error": str(error)})
        return None
    return cycle if start is not None and start.body.get("site_hash") == site.hash() else None


def refuse_newer_state(state: StateDir) -> None:
    """NewerVersion in one line when a newer version has run on this state directory: nothing is changed, that version can go on with it."""
    try:
        memory = last_entry(state.path, "memory")
    except NewerVersion:
        raise
    except DataError:
        return  # there is none, or it cannot be read: a new one is begun
    found = int(memory.body.get("format", 1)) if memory is not None else 1
    if found > MEMORY_FORMAT:
        said = f"written by a newer version (state format {found}, this one knows up to {MEMORY_FORMAT})"
        raise NewerVersion(f"{state.path}: {said}; start that version, or give another --state-dir")


def remembered(state: StateDir, site: str) -> dict[str, Any]:
    """What the last control process of this state directory remembered of this site; {} on a first start or when it cannot be read."""
    try:
        entry = last_entry(state.path, "memory")
    except DataError as error:
        log_line("control", "memory not read", fields={"error": str(error)})
        return {}
    return entry.body if entry and entry.body.get("site") == site else {}
