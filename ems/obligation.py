"""What somebody outside may ask of the site for a time: a grid event, an operator's order."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class ObligationKind(StrEnum):
    """How the number is meant."""

    IMPORT_LIMIT = "import_limit"  # import at most kw
    REDUCE_BY = "reduce_by"  # import at most baseline - kw
    REDUCE_TO = "reduce_to"  # import at most kw


@dataclass(frozen=True)
class Obligation:
    """An event in force over `[start, end)`; known to the site from `notice_at`. `kw` is at the point of connection."""

    id: str
    kind: ObligationKind
    kw: float
    start: datetime
    end: datetime
    notice_at: datetime
    program: str = "manual"
    baseline_kw: float | None = None  # frozen before notice, for reduce_by
    sets_baseline: bool = False  # what is imported meanwhile is what somebody counts from: nothing is spent or put off for money

    def import_limit_kw(self) -> float:
        """The import limit in kW this obligation means."""
        if self.kind is ObligationKind.REDUCE_BY and self.baseline_kw is not None:
            return max(0.0, self.baseline_kw - self.kw)
        return self.kw

    def is_in_force(self, now: datetime) -> bool:
        """True during `[start, end)`."""
        return self.start <= now < self.end
