"""Import above the limit that nothing explains: somebody lies, or a ceiling does not hold. It is taken off the room until it stays away.

The standing caps need no feedback as long as every device tells the truth and does what it is told. This is the answer when one does not:
what the meter shows above the limit is added up at once and given back slowly, after ten seconds of quiet.
"""

from __future__ import annotations

from datetime import datetime

GIVE_BACK_AFTER_S = 10.0
GIVE_BACK_TAU_S = 60.0
MOST = 0.5  # of the limit
NOTHING_KW = 0.5


class Correction:
    """`kw` is taken off the room now."""

    def __init__(self) -> None:
        self.kw = 0.0
        self._last: datetime | None = None
        self._over_at: datetime | None = None

    def update(self, now: datetime, over_kw: float, limit_kw: float) -> float:
        """Takes the measured import above the limit (negative: below it) and returns what to take off the room, in kW."""
        passed_s = 0.0 if self._last is None else max(0.0, (now - self._last).total_seconds())
        self._last = now
        if over_kw > 0.0:
            self._over_at = now
            self.kw = min(self.kw + over_kw, MOST * limit_kw)
        elif self._over_at is not None and (now - self._over_at).total_seconds() > GIVE_BACK_AFTER_S:
            kw = self.kw - self.kw * min(1.0, passed_s / GIVE_BACK_TAU_S)
            self.kw = kw if kw > NOTHING_KW else 0.0
        return self.kw
