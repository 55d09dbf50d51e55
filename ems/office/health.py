"""Whether the site is looked after: one answer, its reasons, and the ages behind it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ems.office.live import FRESH_WALL_S, Live

DEGRADED = ("L3", "L4", "L5")


@dataclass(frozen=True)
class Health:
    """`reasons` make the answer bad; `notes` are troubles of the office itself, which never touch control."""

    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    snapshot_age_s: float | None  # site time
    plan_age_s: float | None
    level: str | None

    @property
    def is_good(self) -> bool:
        """True when control turns and its plan is fresh."""
        return not self.reasons

    def encode(self) -> dict[str, Any]:
        """Plain data for the answer."""
        return {
            "status": "ok" if self.is_good else "degraded",
            "reasons": list(self.reasons),
            "notes": list(self.notes),
            "snapshot_age_s": self.snapshot_age_s,
            "plan_age_s": self.plan_age_s,
            "level": self.level,
        }


def judge(live: Live, now: datetime, notes: Sequence[str] = ()) -> Health:
    """The health of the site at `now` (site time); what the processes say of themselves comes before the office's own notes."""
    reasons = [*_control_reasons(live, now), *_level_reasons(live), *_planner_reasons(live, now)]
    level = str(live.snapshot["level"]) if live.snapshot else None
    told = (line for name, body in sorted(live.health.items()) if body.get("note") for line in _lines(name, body["note"]))
    return Health(tuple(reasons), (*told, *notes), _rounded(live.age_s(now)), _rounded(live.plan_age_s(now)), level)


def _lines(process: str, note: str) -> list[str]:
    """A process's troubles, one line each: about an asset where they name it themselves (`hall-a: what`), else about the process."""
    return [part if re.match(r"[\w.-]+: ", part) else f"{process}: {part}" for part in note.split("; ")]


def _control_reasons(live: Live, now: datetime) -> list[str]:
    age = live.age_wall_s(now)
    if age is None:
        return ["control has not finished a cycle yet"]
    if age <= -FRESH_WALL_S:
        return ["the newest cycle is stamped ahead of the clock"]
    return [] if live.is_fresh(now) else [f"control finished no cycle for {age:.0f} s"]


def _level_reasons(live: Live) -> list[str]:
    """Without rules and plan something is wrong, whatever else is well."""
    shown = live.snapshot
    if shown is None or shown["level"] not in DEGRADED:
        return []
    return [f"control is at {shown['level']} {shown['level_name']}: {shown['cause']}"]


def _planner_reasons(live: Live, now: datetime) -> list[str]:
    if live.plan is None:
        return ["there is no plan yet"]
    if live.is_plan_fresh(now):
        return []
    age_min = (now - live.plan.made_at).total_seconds() / 60.0
    return [f"the newest plan is {age_min:.0f} min old" + ("" if live.plan.is_valid(now) else " and no longer valid")]


def _rounded(age_s: float | None) -> float | None:
    return None if age_s is None else round(age_s, 1)
