"""What a look at a head-end brings, whatever its protocol: objects as they came, and what each means to this site."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ems.program.event import GridEvent
from ems.signals.capacity import CapacityInterval
from ems.signals.prices import PriceRow


@dataclass(frozen=True)
class Ask:
    """A report somebody asked for. `intervals` are those of the event it belongs to, `event` and
    `program` the head-end's own ids; the descriptor is its own, too."""

    event: str
    program: str
    number: int
    intervals: tuple[tuple[datetime, datetime], ...]
    descriptor: Mapping[str, Any]


@dataclass(frozen=True)
class Heard:
    """One object. `id` is ours (channel and the head-end's own); of what it says only what is meant is set; `problem`: it means nothing."""

    id: str
    raw: str
    event: GridEvent | None = None
    limits: tuple[CapacityInterval, ...] = ()
    subscriptions: tuple[CapacityInterval, ...] = ()
    reservations: tuple[CapacityInterval, ...] = ()
    prices: tuple[PriceRow, ...] = ()
    alerts: tuple[str, ...] = ()
    asks: tuple[Ask, ...] = ()
    answer: Mapping[str, Any] | None = None  # what the protocol's own answer must name, where it wants one
    problem: str = ""

    @property
    def sha256(self) -> str:
        """Of the raw text."""
        return hashlib.sha256(self.raw.encode()).hexdigest()

    @property
    def is_capacity(self) -> bool:
        """True when it speaks about the connection."""
        return bool(self.limits or self.subscriptions or self.reservations)


@dataclass(frozen=True)
class Telemetry:
    """Means over `interval_s`, handed in every `every_s`."""

    interval_s: float
    every_s: float


@dataclass(frozen=True)
class Look:
    """A whole look: everything the head-end shows, what it showed before and shows no more, and remarks for eyes. `trouble`: it could not
    be asked, and nothing else is set."""

    at: datetime
    heard: tuple[Heard, ...] = ()
    gone: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    trouble: str = ""
    sent: tuple[tuple[str, str], ...] = field(default=())  # (key, raw) of reports that were taken
    telemetry: Telemetry | None = None
    is_full: bool = True  # the head-end was asked for all it has
