"""Import that stays over the limit although nothing is left to ask: there is no answer, and somebody must be told.

The model of the room says so before it happens, where it knows of it. This is the same from what is measured, whoever brought it about:
a device that somebody else commands, work that does not yield, or a person who has taken everything out of our hands.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from ems.guard.guard import Verdict
from ems.state.estimate import SiteState

WITHIN_S = 2.0


class Unanswered:
    """Follows the import over the limit from cycle to cycle."""

    def __init__(self) -> None:
        self._over_since: datetime | None = None

    def update(self, now: datetime, over_kw: float, left_kw: float) -> bool:
        """True once the import has been over the limit for two seconds, by more than what may still be asked of all devices."""
        if over_kw <= 0.0:
            self._over_since = None
            return False
        self._over_since = self._over_since or now
        return over_kw > left_kw and (now - self._over_since).total_seconds() >= WITHIN_S


def left_kw(verdict: Verdict, state: SiteState, caps_kw: Mapping[str, float], storage_kw: Mapping[str, float]) -> float:
    """What caps and storage could still take off the import, in kW, beyond what they were told in the cycle before (`caps_kw`,
    `storage_kw`). Nothing of a device that was told nothing, nothing of a cluster that draws more than its cap, and nothing of a
    generator: it answers too late."""
    obeying = {k: min(kw, state.clusters[k].power_kw) for k, kw in caps_kw.items() if k not in verdict.overdrawn_kw}
    it_kw = sum(max(0.0, kw - verdict.caps[k].low_kw) for k, kw in obeying.items())
    stores = {k: kw for k, kw in storage_kw.items() if k in verdict.storage}
    lowest_kw = max(sum(verdict.storage[k].low_kw for k in stores), verdict.lowest_storage_kw(sum(caps_kw.values())))
    return it_kw * (1.0 + verdict.room.loss_fraction) + max(0.0, sum(stores.values()) - lowest_kw)
