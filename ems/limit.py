"""Limits are records, not numbers: how much, over which window, by whose order, with which consequence."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class LimitKind(StrEnum):
    """Why a limit exists; protective limits are held on the 1-s mean, interval limits as energy left in the interval."""

    PROTECTIVE = "protective"
    CONNECTION = "connection"
    BILLING = "billing"
    ORDER = "order"


@dataclass(frozen=True)
class Limit:
    """An upper bound on import at the point of connection (or on the flow into a feeder), in kW."""

    kw: float
    kind: LimitKind = LimitKind.PROTECTIVE
    window_s: float = 1.0  # averaging window; > 1 s is aligned on the utility meter's intervals (multiples of the window since 00:00 UTC)
    tolerance: float = 0.0  # fraction above `kw` that does not count as a breach
    source: str = "site file"
    consequence: str = ""
    valid_from: datetime | None = None
    valid_to: datetime | None = None

    def is_valid(self, now: datetime) -> bool:
        """True while the limit holds: `[valid_from, valid_to)`, open ends mean always."""
        return (self.valid_from is None or self.valid_from <= now) and (self.valid_to is None or now < self.valid_to)
