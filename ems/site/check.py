"""Checks a site or tariff file without running anything."""

from __future__ import annotations

from pathlib import Path

from ems.errors import Complaint, ConfigError
from ems.site.load import load_site
from ems.site.source import read_source
from ems.site.tariff_checks import checked_tariff


def check_site(path: Path | str) -> list[Complaint]:
    """Every complaint about a site file; empty when it can be run."""
    try:
        load_site(path)
    except ConfigError as error:
        return error.complaints
    return []


def check_tariff(path: Path | str) -> list[Complaint]:
    """Every complaint about a tariff file; empty when a site can use it."""
    try:
        checked_tariff(read_source(path))
    except ConfigError as error:
        return error.complaints
    return []
