"""Is who gives a limit still there? A record of the site file with `heartbeat_s` counts only while its source is heard that often.

Unheard, the record's fail-safe value holds, also from the start until the source is heard for the first time: a limit that nobody
refreshes may long have been lowered. Silence never loosens: the fail-safe value counts up to what the limit would allow now. Heard
again, it must be heard without a gap for RETURN before its limit counts again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ems.limit import Allowed, Limit
from ems.site.model import Site

RETURN = timedelta(seconds=60)
NOTHING_ELSE: Mapping[Limit, Allowed] = {}


@dataclass
class Source:
    """One source: when it was last heard, and since when without a gap (None: lost, or not for long enough)."""

    last: datetime | None = None
    back_since: datetime | None = None
    is_lost: bool = True

    def hear(self, at: datetime) -> None:
        """A sign of life."""
        self.last = at if self.last is None else max(self.last, at)
        if self.is_lost and self.back_since is None:
            self.back_since = at

    def follow(self, now: datetime, heartbeat_s: float) -> None:
        """Takes one cycle."""
        if self.last is None or (now - self.last).total_seconds() > heartbeat_s:
            self.is_lost, self.back_since = True, None
        elif self.is_lost and self.back_since is not None and now - self.back_since >= RETURN:
            self.is_lost, self.back_since = False, None


class Sources:
    """All sources whose limits need a heartbeat."""

    def __init__(self, site: Site) -> None:
        self._limits = [x for x in site.point_of_connection.limits if x.heartbeat_s is not None]
        self._sources = {x.source: Source() for x in self._limits}
        self._held_kw: dict[Limit, float] = {}  # what holds in place of the limits not heard

    def take(self, body: Mapping[str, Any], now: datetime) -> None:
        """A contact with a source; of others nothing is kept. Raises KeyError, TypeError or ValueError on anything else."""
        at = datetime.fromisoformat(body["at"])
        if at.tzinfo is None:
            raise ValueError("expected an instant with its time zone")
        if body["source"] in self._sources:
            self._sources[body["source"]].hear(min(at, now))

    def update(self, now: datetime, heard: Mapping[Limit, Allowed] = NOTHING_ELSE) -> dict[Limit, Allowed]:
        """The limits whose fail-safe value holds now; `heard`: what limits that are more than a number would allow now."""
        for limit in self._limits:
            self._sources[limit.source].follow(now, limit.heartbeat_s or 0.0)
        self._held_kw = {x: _fail_safe_kw(x, heard.get(x)) for x in self._limits if self._sources[x.source].is_lost}
        return {x: Allowed(kw, f", fail-safe: {self._why(x, now)}") for x, kw in self._held_kw.items()}

    def lost(self, now: datetime) -> str:
        """Who is not heard, and what holds instead; "" when everybody is."""
        return ", ".join(f"{x.source} {self._why(x, now)}, {kw:.0f} kW hold" for x, kw in self._held_kw.items())

    def encode(self) -> dict[str, Any]:
        """What must survive a restart: who was heard, and whose limit counts."""
        return {name: [s.last.isoformat(), s.is_lost] for name, s in self._sources.items() if s.last is not None}

    def restore(self, data: Mapping[str, Any]) -> None:
        """Takes back what `encode` gave, for the sources that still exist."""
        for name, (last, is_lost) in data.items():
            if name in self._sources:
                self._sources[name] = Source(datetime.fromisoformat(last), None, bool(is_lost))

    def _why(self, limit: Limit, now: datetime) -> str:
        source = self._sources[limit.source]
        if source.last is None:
            return "never heard"
        if source.back_since is not None:
            return f"heard again for {(now - source.back_since).total_seconds():.0f} s"
        return f"not heard for {(now - source.last).total_seconds():.0f} s"


def _fail_safe_kw(limit: Limit, heard: Allowed | None) -> float:
    """The fail-safe value, never above the limit, nor above what reactive power leaves of one in kVA."""
    bounds = (limit.kw, limit.fail_safe_kw, None if heard is None else heard.kw)
    return min(kw for kw in bounds if kw is not None)
