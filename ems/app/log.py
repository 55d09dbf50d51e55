"""Structured log lines of processes that stay small: one JSON object per line on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any


def log_line(process: str, event: str, at: datetime | None = None, fields: Mapping[str, Any] | None = None) -> None:
    """Writes one line; `at` is site time. A log that cannot be written is no reason to stop."""
    body = {"process": process, "event": event, "at": at.isoformat() if at else None, **(fields or {})}
    try:
        print(json.dumps(body, default=str), file=sys.stderr, flush=True)
    except OSError:
        pass
