"""The alarms of a running site: what control, planner and office say, turned into alarms and delivered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from ems.alarms import conditions
from ems.office.alarms.book import Alarm, AlarmBook
from ems.office.alarms.hooks import Hook
from ems.office.health import Health
from ems.site.model import Site

FILE_NAME = "alarms.json"
START_S, FIRST_PLAN_S = 10.0, 120.0  # wall: what control and planner may take to be there

log = structlog.get_logger("ems.office.alarms")


class AlarmDesk:
    """`look` a few times a second. Delivery is to the log, to `book` for the page, and to the site's hooks."""

    def __init__(self, site: Site, state_dir: Path) -> None:
        self._site = site
        self.book = AlarmBook(state_dir / FILE_NAME)
        self.hooks = tuple(Hook(hook) for hook in site.alarm_hooks)
        self._subjects = (*site.links, *site.assets)

    def look(self, now: datetime, snapshot: Mapping[str, Any] | None, health: Health, is_fresh: bool, up_s: float) -> list[Alarm]:
        """What was raised and cleared. Of a controller that is silent only that is said, its last words are old. `up_s` are the wall
        seconds since the office began: what has not started yet is not missing."""
        reasons = [r for r in health.reasons if up_s >= (START_S if r.startswith("control") else FIRST_PLAN_S)]
        said = [*reasons, *health.notes, *(lines_of(snapshot) if snapshot is not None and is_fresh else ())]
        changed = self.book.update(now, conditions(said, self._subjects))
        for alarm in changed:
            log.warning("alarm", **alarm.encode())
            for hook in self.hooks:
                hook.put(alarm, self._site.name)
        return changed

    def notes(self) -> tuple[str, ...]:
        """Hooks that fail, for eyes."""
        return tuple(hook.trouble for hook in self.hooks if hook.trouble)

    def close(self) -> None:
        """Ends the hooks."""
        for hook in self.hooks:
            hook.close()


def lines_of(snapshot: Mapping[str, Any]) -> Sequence[str]:
    """What control says is wrong, one line each."""
    proofs = ((asset, trust.get("proof")) for asset, trust in snapshot.get("trust", {}).items())
    failed = [f"{asset}: failed its self-test: {p['why']}" for asset, p in proofs if p and not p["is_passed"]]
    taken = [f"{a['id']}: in LOCAL" for a in snapshot.get("assets", ()) if "LOCAL" in str(a.get("low_rule")) + str(a.get("high_rule"))]
    return [*(str(line) for line in snapshot.get("alarms", ())), *failed, *taken]
