"""Does the power of a store follow what it is told? One that moves the other way, or does not move, is no longer counted on.

A store may lie anywhere between what it was told in the last seconds, and where it was before them, each with what its own frequency droop
adds. Outside of that for two cycles, or moving away from what it was told, it is suspect and gets no power for a while; each time again for
twice as long.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from ems.site.model import Site
from ems.state.estimate import SiteState

FOLLOWS_WITHIN_S = 3.0  # from a write to the power measured: one cycle, the way, the ramp (or what a longer ramp takes); with CYCLES: 5 s
SLACK = 0.03  # of the rating, at least SLACK_KW
SLACK_KW = 10.0
CYCLES = 2
FIRST_PAUSE = timedelta(seconds=300)
LONGEST_PAUSE = timedelta(hours=1)
FORGET_AFTER = timedelta(hours=4)
NO_DROOP = (0.0, 0.0)


class Response:
    """Watches all stores; `suspects` are those that did not follow, with the reason."""

    def __init__(self, site: Site) -> None:
        ratings = {b.id: (b.power_kw, b.ramp_kw_per_s) for b in site.batteries}
        ratings |= {u.id: (u.rating_kw, u.ramp_kw_per_s) for u in site.upses}
        self._stores = {asset: Watch(kw, site.control.cycle_s, ramp) for asset, (kw, ramp) in ratings.items()}

    def update(self, state: SiteState, told_kw: Mapping[str, float]) -> None:
        """Takes the state of a cycle and what every store in control was told in the cycle before. A UPS outside normal operation follows
        nobody: carrying its load through an outage is no disobedience."""
        powers = {k: (b.power_kw, b.is_fresh and not b.is_local) for k, b in state.batteries.items()}
        powers |= {k: (u.battery_kw, u.is_fresh and not u.is_local and u.mode == "normal") for k, u in state.upses.items()}
        for asset, (kw, is_known) in powers.items():
            droop_kw = state.batteries[asset].droop_kw if asset in state.batteries else NO_DROOP
            self._stores[asset].update(state.now, kw if is_known else None, told_kw.get(asset), droop_kw)

    def suspects(self, now: datetime) -> dict[str, str]:
        """Stores that get no power now, and why."""
        return {asset: w.why for asset, w in self._stores.items() if w.is_suspect(now)}

    def encode(self) -> dict[str, Any]:
        """What must survive a restart: who gets no power, until when, why, and the length of the pause."""
        return {asset: kept for asset, w in self._stores.items() if (kept := w.encode()) is not None}

    def restore(self, data: Mapping[str, Any]) -> None:
        """Takes back what `encode` gave, for the stores that still exist."""
        for asset, kept in data.items():
            if asset in self._stores:
                self._stores[asset].restore(kept)


class Watch:
    """One store."""

    def __init__(self, rating_kw: float, cycle_s: float, ramp_kw_per_s: float = math.inf) -> None:
        self.why = ""
        self._ramp_kw_per_s = ramp_kw_per_s
        self._slack_kw = max(SLACK_KW, SLACK * rating_kw)
        self._window = timedelta(seconds=max(FOLLOWS_WITHIN_S, 2.5 * cycle_s))
        self._told: deque[tuple[datetime, float]] = deque()
        self._droops: deque[tuple[datetime, float, float]] = deque()
        self._begun: tuple[datetime, float] | None = None  # when watching began, and the power then
        self._last_kw = 0.0
        self._astray = 0
        self._until: datetime | None = None
        self._pause = FIRST_PAUSE

    def encode(self) -> list[Any] | None:
        """The pause, None when there never was one."""
        return None if self._until is None else [self._until.isoformat(), self._pause.total_seconds(), self.why]

    def restore(self, kept: Sequence[Any]) -> None:
        """Takes back what `encode` gave."""
        self._until, self._pause, self.why = datetime.fromisoformat(kept[0]), timedelta(seconds=float(kept[1])), str(kept[2])

    def is_suspect(self, now: datetime) -> bool:
        """True while it gets no power."""
        return self._until is not None and now < self._until

    def update(self, now: datetime, kw: float | None, told_kw: float | None, droop_kw: tuple[float, float] = NO_DROOP) -> None:
        """Takes the measured power (None: not known), what it was told a cycle ago (None: nothing), and between which two its own droop
        moves it now."""
        low_kw, high_kw = self._drooped(now, droop_kw)
        if kw is None or told_kw is None or self.is_suspect(now):
            self._told.clear()
            self._begun, self._astray = None, 0
            return
        if self._begun is None:
            self._begun, self._last_kw = (now, kw), kw
        outside_kw = max(0.0, self._outside_kw(now, kw, told_kw, low_kw, high_kw))
        moved_kw, self._last_kw = kw - self._last_kw, kw
        self._astray = self._astray + 1 if outside_kw > self._slack_kw else 0
        is_moving_away = abs(moved_kw) > self._slack_kw and outside_kw > 2.0 * self._slack_kw
        if is_moving_away or self._astray >= CYCLES:
            self._suspect(now, kw, told_kw, is_moving_away)

    def _drooped(self, now: datetime, droop_kw: tuple[float, float]) -> tuple[float, float]:
        """Between which two droop moved it in the last seconds."""
        self._droops.append((now, *droop_kw))
        while now - self._droops[0][0] > self._window:
            self._droops.popleft()
        return min(low for _, low, _ in self._droops), max(high for _, _, high in self._droops)

    def _outside_kw(self, now: datetime, kw: float, told_kw: float, low_kw: float, high_kw: float) -> float:
        """How far the power lies outside of everything it was told in the last seconds; at first, of where it was before that, too. Both
        ends are moved by droop."""
        assert self._begun is not None
        self._told.append((now, told_kw))
        while now - self._told[0][0] > self._lasts(self._told[0][1], told_kw):
            self._told.popleft()
        allowed = [told for _, told in self._told]
        if now - self._begun[0] <= self._window:
            allowed.append(self._begun[1])
        return max(min(allowed) + low_kw - kw, kw - max(allowed) - high_kw)

    def _lasts(self, before_kw: float, told_kw: float) -> timedelta:
        """How long it may lie on the way from what it was told before."""
        return max(self._window, timedelta(seconds=abs(told_kw - before_kw) / self._ramp_kw_per_s))

    def _suspect(self, now: datetime, kw: float, told_kw: float, is_moving_away: bool) -> None:
        is_wrong_way = told_kw * kw < 0.0 and (is_moving_away or abs(kw + told_kw) <= 2.0 * self._slack_kw)
        self.why = f"told {told_kw:.0f} kW, the power is {kw:.0f} kW: {'the wrong sign, ' if is_wrong_way else ''}it does not follow"
        if self._until is not None:
            self._pause = FIRST_PAUSE if now - self._until > FORGET_AFTER else min(2 * self._pause, LONGEST_PAUSE)
        self._until = now + self._pause
