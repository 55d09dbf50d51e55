"""What each process says of itself, for the supervisor's log and the office."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

HEALTH_EVERY = timedelta(minutes=1)
HEALTH_VALID = timedelta(minutes=5)


def health_body(process: str, at: datetime, notes: list[str]) -> dict[str, Any]:
    """The body of a `health` message."""
    return {
        "process": process,
        "pid": os.getpid(),
        "at": at.isoformat(),
        "note": "; ".join(note for note in notes if note),
        "memory_mb": memory_mb(),
    }


def memory_mb() -> float | None:
    """Peak resident memory of this process in MB, None where the system does not say."""
    try:
        status = Path("/proc/self/status").read_text()
        return round(int(status.split("VmHWM:")[1].split()[0]) / 1024.0, 1)
    except (OSError, IndexError, ValueError):
        return None
