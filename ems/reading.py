"""A measured value with its quality and the instant it was true. Missing is not zero."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Quality(StrEnum):
    """How far a reading may be trusted."""

    GOOD = "good"
    SUSPECT = "suspect"  # arrived, but fails a plausibility check
    BAD = "bad"  # the device says so itself, or a sentinel


@dataclass(frozen=True, slots=True)
class Reading:
    """One value in our unit and sign, stamped at the wire; `value` is None when there is none. NaN cannot enter."""

    value: float | None
    at: datetime
    quality: Quality = Quality.GOOD

    def __post_init__(self) -> None:
        if self.value is not None and not math.isfinite(self.value):
            object.__setattr__(self, "value", None)
            object.__setattr__(self, "quality", Quality.BAD)

    def age_s(self, now: datetime) -> float:
        """Seconds since the value was true on the wire."""
        return (now - self.at).total_seconds()

    def is_fresh(self, now: datetime, stale_after_s: float) -> bool:
        """True when the value exists, is good and no older than `stale_after_s` seconds."""
        return self.value is not None and self.quality is Quality.GOOD and self.age_s(now) <= stale_after_s
