"""Which alarms stand: raised at once, cleared when nothing said so for some seconds, kept over a restart in one small file."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ems.alarms import CATALOGUE, Condition, Severity

CLEAR_AFTER = timedelta(seconds=5)  # site time: what flickers is one alarm
RECENT = 100


@dataclass(frozen=True)
class Alarm:
    """One alarm. `cleared_at` is None while it stands."""

    name: str
    subject: str
    severity: Severity
    words: str  # as first said
    text: str
    runbook: str
    since: datetime
    seen_at: datetime
    cleared_at: datetime | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Which alarm it is."""
        return self.name, self.subject

    def encode(self) -> dict[str, Any]:
        """Plain data for hooks and files."""
        return {
            "state": "raised" if self.cleared_at is None else "cleared",
            "name": self.name,
            "subject": self.subject,
            "severity": self.severity.name.lower(),
            "words": self.words,
            "text": self.text,
            "runbook": self.runbook,
            "since": self.since.isoformat(),
            "cleared_at": None if self.cleared_at is None else self.cleared_at.isoformat(),
        }


class AlarmBook:
    """`update` takes what is said now and gives what was raised and cleared by it."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._standing: dict[tuple[str, str], Alarm] = {a.key: a for a in _kept(path)}
        self.recent: deque[Alarm] = deque(maxlen=RECENT)  # cleared ones

    @property
    def standing(self) -> tuple[Alarm, ...]:
        """Alarms that stand, worst first, then oldest."""
        return tuple(sorted(self._standing.values(), key=lambda a: (-a.severity, a.since)))

    def update(self, now: datetime, said: Sequence[Condition]) -> list[Alarm]:
        """Alarms raised and cleared by what is said at `now` (site time)."""
        changed = []
        for condition in said:
            known = self._standing.get(condition.key)
            if known is None:
                changed.append(raised(condition, now))
            self._standing[condition.key] = replace(known, seen_at=now) if known is not None else changed[-1]
        for key, alarm in list(self._standing.items()):
            if now - alarm.seen_at > CLEAR_AFTER:
                cleared = replace(self._standing.pop(key), cleared_at=now)
                self.recent.append(cleared)
                changed.append(cleared)
        if changed:
            self._keep()
        return changed

    def _keep(self) -> None:
        if self._path is None:
            return
        draft = self._path.with_name(self._path.name + ".new")
        try:
            draft.write_text(json.dumps([a.encode() for a in self._standing.values()]))
            draft.replace(self._path)
        except OSError:
            return  # a restart of the office then raises them again: better twice than never


def raised(condition: Condition, now: datetime) -> Alarm:
    """A new alarm of a condition."""
    kind = condition.kind
    return Alarm(kind.name, condition.subject, kind.severity, condition.words, kind.text, kind.runbook, now, now)


def _kept(path: Path | None) -> list[Alarm]:
    """What stood when the office ended; nothing when that cannot be read."""
    kinds = {kind.name: kind for kind in CATALOGUE}
    try:
        rows = json.loads(path.read_text()) if path is not None else []
        return [_decoded(row, kinds[row["name"]].severity) for row in rows if row["name"] in kinds]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _decoded(row: dict[str, Any], severity: Severity) -> Alarm:
    since = datetime.fromisoformat(row["since"])
    return Alarm(row["name"], row["subject"], severity, row["words"], row["text"], row["runbook"], since, since)
