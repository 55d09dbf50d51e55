"""The fallback ladder: down at once, up only after a dwell. Each level has a name and a cause."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

FALLS_COUNT_FOR = timedelta(minutes=30)
FREE_FALLS, MOST_FALLS = 2, 8  # two falls are no pattern yet; the longest dwell is 64 times the shortest


class Level(IntEnum):
    """How much of the controller is trusted now."""

    L0 = 0  # fresh plan
    L1 = 1  # previous plan while valid
    L2 = 2  # rules: peak-hold shaving
    L3 = 3  # limits only
    L4 = 4  # safe values by ramp, workload caps first
    L5 = 5  # withdrawn; a named person resets it


NAMES = {
    Level.L0: "fresh plan",
    Level.L1: "previous plan",
    Level.L2: "rules",
    Level.L3: "limits only",
    Level.L4: "safe values",
    Level.L5: "withdrawn",
}


@dataclass(frozen=True, slots=True)
class Rung:
    """The level in force, why, and since when."""

    level: Level
    cause: str
    since: datetime


class Ladder:
    """Holds the level; a better one is taken only after every cycle of the dwell allowed it.

    From the third on, each fall of the last half hour doubles the dwell: what comes and goes must not take the site up and down with it.
    Only from withdrawn to the limits there is no dwell: nobody holds them until then, and the person who gave the site back has decided it.
    """

    def __init__(self, dwell_s: float) -> None:
        self.dwell_s = dwell_s
        self.rung: Rung | None = None
        self._better_since: datetime | None = None
        self._falls: deque[datetime] = deque(maxlen=MOST_FALLS)

    def step(self, allowed: Level, cause: str, now: datetime) -> Rung:
        """The rung for this cycle, given the best level allowed now and what allows no better."""
        if self.rung is None or allowed > self.rung.level:
            if self.rung is not None and allowed >= Level.L3:
                self._falls.append(now)
            self._take(allowed, cause, now)
        elif self.rung.level is Level.L5 and allowed < Level.L5:
            self._take(max(allowed, Level.L3), "given back by a person" if allowed < Level.L3 else cause, now)
        elif allowed < self.rung.level:
            self._climb(allowed, cause, now)
        else:
            self._better_since = None
            if cause != self.rung.cause:
                self.rung = Rung(allowed, cause, self.rung.since)
        assert self.rung is not None
        return self.rung

    def _climb(self, allowed: Level, cause: str, now: datetime) -> None:
        self._better_since = self._better_since or now
        if (now - self._better_since).total_seconds() >= self._dwell_now_s(now):
            self._take(allowed, cause, now)

    def _dwell_now_s(self, now: datetime) -> float:
        while self._falls and now - self._falls[0] > FALLS_COUNT_FOR:
            self._falls.popleft()
        return self.dwell_s * 2.0 ** max(0, len(self._falls) - FREE_FALLS)

    def _take(self, level: Level, cause: str, now: datetime) -> None:
        self.rung, self._better_since = Rung(level, cause, now), None
