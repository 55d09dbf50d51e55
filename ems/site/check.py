"""Checks a site file without running it."""

from __future__ import annotations

from pathlib import Path

from ems.errors import Complaint, ConfigError
from ems.site.load import load_site


def check_site(path: Path | str) -> list[Complaint]:
    """Every complaint about a site file; empty when it can be run."""
    try:
        load_site(path)
    except ConfigError as error:
        return error.complaints
    return []
