"""What a limit with an inverse-time curve, or in kVA, allows in kW now.

A curve is points (multiple of the limit, seconds it may last). What was used of it is kept as a share of wear that grows with 1 / time
and falls, once the import is back under the limit, within the longest time of the curve. The overload allowed now is the highest that
could still last until every lease has lapsed; used up, it is not offered again before half of it has come back.

A limit in kVA leaves sqrt(kVA² - kvar²): with the reactive power of the meter (the highest of the last seconds), or, where the meter
shows none, at the power factor of the record, and the words say that it is assumed.
"""

from __future__ import annotations

import math
from datetime import datetime
from itertools import pairwise
from typing import Any

from ems.limit import Allowed, Limit
from ems.site.model import Site
from ems.state.estimate import SiteState
from ems.state.hold import PeakHold

LONGEST_STEP_S, LONGEST_CYCLES = 60.0, 2.5  # a gap that is longer than both wears no more than the longer
OFFERED_AGAIN = 0.5  # share of wear at or below which a curve that was used up is offered again


class Overload:
    """Follows the limits of the site that are more than a number of kW; every other site has none, and pays nothing."""

    def __init__(self, site: Site, horizon_s: float) -> None:
        self._limits = [x for x in site.point_of_connection.limits if (x.curve or x.kva is not None) and x.window_s <= 1.0]
        self._longest_s = max(LONGEST_STEP_S, LONGEST_CYCLES * site.control.cycle_s)
        self._horizon_s = horizon_s  # how long a setpoint can outlive the controller
        self._kvar = PeakHold(site.control.peak_hold_s)
        self._worn = [0.0] * len(self._limits)
        self._is_used_up = [False] * len(self._limits)
        self._last: datetime | None = None

    def update(self, state: SiteState) -> dict[Limit, Allowed]:
        """Takes one cycle; what each of these limits allows now."""
        if not self._limits:
            return {}
        seconds = 0.0 if self._last is None else min(self._longest_s, max(0.0, (state.now - self._last).total_seconds()))
        self._last = state.now
        seen = state.connection.reactive_kvar
        kvar = None if seen is None else self._kvar.update(state.now, abs(seen))
        return {limit: self._allowed(k, limit, state, kvar, seconds) for k, limit in enumerate(self._limits)}

    def encode(self) -> list[list[Any]]:
        """What must survive a restart: of each limit how much of its curve is used."""
        return [[_name(x), worn, used] for x, worn, used in zip(self._limits, self._worn, self._is_used_up, strict=True)]

    def restore(self, kept: list[list[Any]]) -> None:
        """Takes back what `encode` gave, for the limits that still exist."""
        known = {str(name): (float(worn), bool(used)) for name, worn, used in kept}
        for k, limit in enumerate(self._limits):
            self._worn[k], self._is_used_up[k] = known.get(_name(limit), (0.0, False))

    def _allowed(self, k: int, limit: Limit, state: SiteState, kvar: float | None, seconds: float) -> Allowed:
        reached = _multiple(limit, max(0.0, state.poc_kw), kvar)
        times = 1.0
        if limit.curve:
            wear = seconds / lasts_s(limit.curve, reached) if reached > 1.0 else -seconds / limit.curve[0][1]
            self._worn[k] = min(1.0, max(0.0, self._worn[k] + wear))
            offered = self._offered(k, limit)
            times = offered if state.connection.is_fresh else 1.0
        said = "" if not limit.curve else f", {times:.2f} times with {self._worn[k]:.0%} of its overload used"
        return Allowed(_kw(limit, times, kvar), _reactive_words(limit, kvar) + said)

    def _offered(self, k: int, limit: Limit) -> float:
        times = highest(limit.curve, self._horizon_s, 1.0 - self._worn[k])
        if times <= 1.0:
            self._is_used_up[k] = True
        elif self._worn[k] <= OFFERED_AGAIN:
            self._is_used_up[k] = False
        return 1.0 if self._is_used_up[k] else times


def lasts_s(curve: tuple[tuple[float, float], ...], times: float) -> float:
    """Seconds that `times` the limit may last: straight between the points on logarithmic scales, the first point's up to the first, and
    falling with the square of the current beyond the last."""
    if times <= curve[0][0]:
        return curve[0][1]
    for (a, before_s), (b, after_s) in pairwise(curve):
        if times <= b:
            share = math.log(times / a) / math.log(b / a)
            return before_s * math.exp(share * math.log(after_s / before_s))
    last, last_s = curve[-1]
    return last_s * (last / times) ** 2


def highest(curve: tuple[tuple[float, float], ...], horizon_s: float, left: float) -> float:
    """The highest multiple, of the points' range, that could last `horizon_s` with `left` of the curve; 1 where none could."""
    needed_s = horizon_s / left if left > 0.0 else math.inf
    if curve[0][1] < needed_s:
        return 1.0
    for (a, before_s), (b, after_s) in pairwise(curve):
        if after_s < needed_s:
            share = math.log(needed_s / before_s) / math.log(after_s / before_s)
            return a * math.exp(share * math.log(b / a))
    return curve[-1][0]


def _name(limit: Limit) -> str:
    return f"{limit.source} {limit.kw:g}"


def _multiple(limit: Limit, import_kw: float, kvar: float | None) -> float:
    if limit.kva is not None and kvar is not None:
        return math.hypot(import_kw, kvar) / limit.kva
    return import_kw / limit.kw


def _kw(limit: Limit, times: float, kvar: float | None) -> float:
    if limit.kva is None or kvar is None:
        return times * limit.kw
    return math.sqrt(max(0.0, (times * limit.kva) ** 2 - kvar**2))


def _reactive_words(limit: Limit, kvar: float | None) -> str:
    if limit.kva is None:
        return ""
    by = f"{kvar:.0f} kvar measured" if kvar is not None else f"power factor {limit.power_factor:g} assumed"
    return f", {limit.kva:.0f} kVA at {by}"
