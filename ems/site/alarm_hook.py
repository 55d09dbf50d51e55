"""Where alarms go besides log and page: a command or a web address. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AlarmHook:
    """Gets every alarm raised and cleared of at least this severity, as JSON: a command on its standard input, an address by POST."""

    name: str
    severity: str = "minor"  # info | minor | major | critical
    url: str | None = None
    command: tuple[str, ...] = ()
    timeout_s: float = 5.0  # wall, for one attempt
    retries: int = 3  # attempts after the first, with 1, 2, 4 ... wall seconds between
