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


@dataclass(frozen=True, slots=True)
class Allowed:
    """`kw` of import that a limit allows now; `words` say where that comes from."""

    kw: float
    words: str


@dataclass(frozen=True)
class Limit:
    """An upper bound on import at the point of connection (or on the flow into a feeder), in kW.

    `kva`: the bound is on apparent power, and `kw` is what it leaves at `power_factor`, which stands where no meter shows reactive power.
    `curve`: points (multiple of the bound, seconds it may last), multiples rising from above 1, seconds falling; a 1-s bound without a
    curve is never exceeded. `heartbeat_s`: `source` must be heard that often, else `fail_safe_kw`, at most `kw`, holds instead.
    """

    kw: float
    kind: LimitKind = LimitKind.PROTECTIVE
    window_s: float = 1.0  # averaging window; > 1 s is aligned on the utility meter's intervals (multiples of the window since 00:00 UTC)
    tolerance: float = 0.0  # fraction above `kw` that does not count as a breach
    source: str = "site file"
    consequence: str = ""
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    kva: float | None = None
    power_factor: float = 1.0
    curve: tuple[tuple[float, float], ...] = ()
    heartbeat_s: float | None = None
    fail_safe_kw: float | None = None

    @property
    def is_standing(self) -> bool:
        """True for a bound on the 1-s mean without an end."""
        return self.window_s <= 1.0 and self.valid_from is None and self.valid_to is None

    def is_valid(self, now: datetime) -> bool:
        """True while the limit holds: `[valid_from, valid_to)`, open ends mean always."""
        return (self.valid_from is None or self.valid_from <= now) and (self.valid_to is None or now < self.valid_to)
