"""What a run counts: cycles, missed cycles, plans adopted, setpoints written and read back, seconds on each rung of the ladder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ems.control.decision import Decision
from ems.control.ladder import Level
from ems.state.image import SiteImage

READ_BACK_WITHIN_KW = 1.0
LONGEST_STEP_S = 30.0  # a longer pause between two cycles is an outage, not time on a rung


@dataclass
class Counts:
    """Counters of a run over the restarts of control."""

    cycles: int = 0
    missed_cycles: int = 0
    plans_adopted: int = 0
    setpoints_written: int = 0
    setpoints_read_back: int = 0
    setpoints_replaced: int = 0  # a newer value was written before this one was seen
    starts: int = 1
    ladder_s: dict[str, float] = field(default_factory=lambda: {level.name: 0.0 for level in Level})
    _last_at: datetime | None = None
    _plan_made_at: datetime | None = None
    _waiting: dict[tuple[str, str], float] = field(default_factory=dict)
    _written: dict[tuple[str, str], float] = field(default_factory=dict)

    @staticmethod
    def resumed(data: Mapping[str, Any] | None) -> Counts:
        """Counters going on from those of the last process."""
        counts = Counts()
        for key, value in (data or {}).items():
            if key == "ladder_s":
                counts.ladder_s.update(value)
            elif isinstance(getattr(counts, key, None), int):
                setattr(counts, key, value)
        counts.starts += 1 if data else 0
        return counts

    def count(self, image: SiteImage, decision: Decision, plan_made_at: datetime | None) -> None:
        """Takes one cycle into account."""
        self.cycles += 1
        self._count_ladder(decision, image.now)
        if plan_made_at is not None and plan_made_at != self._plan_made_at:
            self.plans_adopted += 1
            self._plan_made_at = plan_made_at
        self._count_read_back(image)
        self._count_written(decision)

    def _count_ladder(self, decision: Decision, now: datetime) -> None:
        if self._last_at is not None:
            passed_s = (now - self._last_at).total_seconds()
            self.ladder_s[decision.rung.level.name] += min(max(0.0, passed_s), LONGEST_STEP_S)
        self._last_at = now

    def _count_read_back(self, image: SiteImage) -> None:
        for (asset, command), wanted_kw in list(self._waiting.items()):
            shown = image.commands.get(asset, {}).get(command)
            if shown is not None and shown.value is not None and abs(shown.value - wanted_kw) <= READ_BACK_WITHIN_KW:
                self.setpoints_read_back += 1
                del self._waiting[(asset, command)]

    def _count_written(self, decision: Decision) -> None:
        for s in decision.written:
            key = (s.asset, s.command)
            if self._written.get(key) == s.power_kw:
                continue
            self.setpoints_replaced += key in self._waiting
            self.setpoints_written += 1
            self._written[key] = self._waiting[key] = s.power_kw

    @property
    def last_written(self) -> dict[tuple[str, str], float]:
        """The last value in kW handed over, by asset and command."""
        return dict(self._written)

    def encode(self) -> dict[str, Any]:
        """Plain data for the snapshot."""
        plain = {k: v for k, v in vars(self).items() if not k.startswith("_")}
        return {**plain, "ladder_s": {k: round(v, 3) for k, v in self.ladder_s.items()}}
