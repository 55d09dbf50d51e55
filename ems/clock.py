"""The one clock of a run: site time that starts at an epoch and runs at a speed, driven by the monotonic clock.

All processes of a run read the same `clock.json` in the state directory, so they agree on site time. Leases, ages,
tariffs and validities are site time; I/O deadlines and watchdogs are wall (monotonic) time.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path


@dataclass(frozen=True)
class Clock:
    """Site time = epoch + speed x (monotonic - monotonic at epoch)."""

    epoch: datetime
    epoch_monotonic_s: float
    speed: float = 1.0

    def now(self) -> datetime:
        """The site instant now, aware UTC."""
        return self.epoch + timedelta(seconds=(time.monotonic() - self.epoch_monotonic_s) * self.speed)

    def wall_s(self) -> float:
        """Monotonic wall seconds, for deadlines."""
        return time.monotonic()

    def wall_s_until(self, instant: datetime) -> float:
        """Wall seconds until a site instant (negative when past)."""
        return (instant - self.now()).total_seconds() / self.speed

    def save(self, path: Path) -> None:
        """Writes the clock for the other processes of the run, in one step: they read it while a supervisor that came back writes."""
        draft = path.with_name(path.name + ".new")
        draft.write_text(json.dumps({"epoch": self.epoch.isoformat(), "epoch_monotonic_s": self.epoch_monotonic_s, "speed": self.speed}))
        draft.replace(path)

    @staticmethod
    def load(path: Path) -> Clock:
        """The clock of the run whose state directory holds `path`."""
        raw = json.loads(path.read_text())
        return Clock(datetime.fromisoformat(raw["epoch"]), raw["epoch_monotonic_s"], raw["speed"])

    @staticmethod
    def real() -> Clock:
        """Real time at speed 1."""
        return Clock(datetime.now(UTC), time.monotonic(), 1.0)

    @staticmethod
    def starting_at(epoch: datetime, speed: float) -> Clock:
        """Site time that starts at `epoch` now and runs at `speed`."""
        return Clock(epoch, time.monotonic(), speed)
