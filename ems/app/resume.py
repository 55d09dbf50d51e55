"""What a control process takes over from the one before it, and what it says of itself when it starts."""

from __future__ import annotations

import importlib.metadata
import sqlite3
import sys
from typing import Any

from ems.app.log import log_line
from ems.app.statedir import StateDir
from ems.errors import DataError
from ems.journal.read import last_entry


def versions() -> dict[str, str]:
    """What decided: a journal is re-run with the same."""
    try:
        ours = importlib.metadata.version("aidc-ems")
    except importlib.metadata.PackageNotFoundError:
        ours = "not installed"
    return {"aidc-ems": ours, "python": sys.version.split()[0], "sqlite": sqlite3.sqlite_version}


def remembered(state: StateDir, site: str) -> dict[str, Any]:
    """What the last control process of this state directory remembered of this site; {} on a first start or when it cannot be read."""
    try:
        entry = last_entry(state.path, "memory")
    except DataError as error:
        log_line("control", "memory not read", fields={"error": str(error)})
        return {}
    return entry.body if entry and entry.body.get("site") == site else {}
