"""What became of every intent: applied, rejected or unknown, each exactly once.

An intent is a new value for a command. It is applied when the device shows it, rejected when the device refused or did not apply it, and
unknown when neither was seen in time or a newer intent took its place. What the process before left open is settled by what devices show.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from ems.dispatch.setpoint import Setpoint
from ems.state.image import SiteImage

WITHIN = timedelta(seconds=5)
SAME_KW = 1.0  # scale and rounding of registers
REJECTED_WORDS = ("refused", "acknowledged but not applied", "is outside", "wear budget")


class Outcome(StrEnum):
    """The end of an intent."""

    APPLIED = "applied"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Intent:
    """A value handed over at an instant."""

    kw: float
    at: datetime


Row = list[Any]  # asset, command, kW, instant of the intent, outcome, why


@dataclass
class Outcomes:
    """Call `settle` with each image, then `note` with what that cycle handed over. `within` is how long an answer may take."""

    within: timedelta = WITHIN
    counts: dict[str, int] = field(default_factory=lambda: {outcome.value: 0 for outcome in Outcome})
    _open: dict[tuple[str, str], Intent] = field(default_factory=dict)
    _last: dict[tuple[str, str], float] = field(default_factory=dict)

    def resume(self, at: datetime, rows: Iterable[Sequence[Any]]) -> None:
        """Takes over the setpoints of the last cycle of the process before: rows as the journal holds them."""
        for asset, command, kw, _, was_written in rows:
            if was_written:
                self._open[asset, command] = Intent(float(kw), at)

    def settle(self, image: SiteImage) -> list[Row]:
        """Intents that have come to their end by this image."""
        rows = []
        for key, intent in list(self._open.items()):
            outcome, why = self._judged(key, intent, image)
            if outcome is not None:
                rows.append(self._ended(key, intent, outcome, why))
        return rows

    def note(self, written: Sequence[Setpoint], now: datetime) -> list[Row]:
        """New intents; the rows are those whose place they take."""
        rows = []
        for setpoint in written:
            key = (setpoint.asset, setpoint.command)
            if self._last.get(key) == setpoint.power_kw:
                continue
            if key in self._open:
                rows.append(self._ended(key, self._open[key], Outcome.UNKNOWN, "replaced"))
            self._last[key] = setpoint.power_kw
            self._open[key] = Intent(setpoint.power_kw, now)
        return rows

    def _judged(self, key: tuple[str, str], intent: Intent, image: SiteImage) -> tuple[Outcome | None, str]:
        asset, command = key
        shown = image.commands.get(asset, {}).get(command)
        if shown is not None and shown.value is not None and shown.at > intent.at and abs(shown.value - intent.kw) <= SAME_KW:
            return Outcome.APPLIED, ""
        problem = image.problems.get(asset, "")
        if image.now > intent.at and command in problem and any(word in problem for word in REJECTED_WORDS):
            return Outcome.REJECTED, problem
        return (Outcome.UNKNOWN, problem or "not shown in time") if image.now - intent.at >= self.within else (None, "")

    def _ended(self, key: tuple[str, str], intent: Intent, outcome: Outcome, why: str) -> Row:
        self._open.pop(key)
        self.counts[outcome.value] += 1
        return [*key, intent.kw, intent.at.isoformat(), outcome.value, why]


def encode_counts(counts: Mapping[str, int]) -> dict[str, int]:
    """The counts for the snapshot."""
    return {f"intents_{name}": n for name, n in counts.items()}
