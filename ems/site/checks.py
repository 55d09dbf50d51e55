"""What no single key can show: references, addresses, the feeder tree, and sites that cannot work."""

from __future__ import annotations

from ems.errors import Complaint
from ems.site.schema import SiteFile
from ems.site.source import Source


def cross_complaints(source: Source, file: SiteFile) -> list[Complaint]:
    """Every fault between the parts of a valid file, at its place."""
    return []
