"""A billing peak once set is paid for the whole month, a plan is made anew every few minutes: a rise is believed once it has lasted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from ems.plan.plan import Plan

PATIENCE = timedelta(minutes=30)
TOGETHER = timedelta(minutes=1)  # plans that come closer are remembered as one, by the lower


class RisingPeak:
    """What the plans of the last half hour wanted the billing peak to be. The lowest of it is believed; meanwhile storage and recovery that
    waits hold the mean, and work is cut only for the peak that the newest plan wants.

    Without it a forecast that looks high for ten minutes raises the peak at once, for an hour tomorrow that the next forecast no longer
    holds: in a replayed week by 18 kW with storage half full. Plans rarer than half an hour are believed as they come.
    """

    def __init__(self) -> None:
        self._wanted: list[tuple[datetime, str, float]] = []  # when it came, in which billing month, kW

    def take(self, plan: Plan, now: datetime, month: str) -> None:
        """Remembers what a plan wants that came at `now`."""
        kept = [w for w in self._wanted if _is_recent(w[0], now)]
        if kept and now - kept[-1][0] < TOGETHER and kept[-1][1] == month:
            at, _, kw = kept.pop()
            kept.append((at, month, min(kw, plan.peak_kw)))
        else:
            kept.append((now, month, plan.peak_kw))
        self._wanted = kept

    def believed_kw(self, plan: Plan, now: datetime, month: str) -> float:
        """The peak in kW to hold under the plan in force: never below what costs nothing more, nor above what that plan wants."""
        if plan.free_peak_kw is None:
            return plan.peak_kw
        recent = [kw for at, in_month, kw in self._wanted if in_month in ("", month) and _is_recent(at, now)]  # "": before a first reading
        return min(plan.peak_kw, max(plan.free_peak_kw, min(recent, default=plan.peak_kw)))

    def last_kw(self, month: str) -> float | None:
        """The peak in kW that the last plans of a billing month wanted, however old: what is left when no plan comes any more."""
        return min((kw for _, in_month, kw in self._wanted if in_month in ("", month)), default=None)

    def encode(self) -> list[list[Any]]:
        """Plain data that survives a restart."""
        return [[at.isoformat(), month, kw] for at, month, kw in self._wanted]

    def restore(self, data: Sequence[Sequence[Any]]) -> None:
        """Takes back what `encode` gave."""
        self._wanted = [(datetime.fromisoformat(at), str(month), float(kw)) for at, month, kw in data]


def _is_recent(at: datetime, now: datetime) -> bool:
    return timedelta(0) <= now - at <= PATIENCE
