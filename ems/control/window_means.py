"""Limits over a window of the utility meter (a mean over minutes, not a power): what the running window still allows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ems.assets.grid_connection.envelope import interval_limits
from ems.dispatch.plan_advice import SWING_SHARE
from ems.limit import Allowed, Limit
from ems.site.model import Site
from ems.state.interval import ANSWER_S, IntervalMeter

MOST_STEP = 0.05  # of such a limit, kept free for a step of the load at the window's end


class WindowMeans:
    """One meter per length of window. The energy that flowed in the running one outlives a restart."""

    def __init__(self, site: Site) -> None:
        self.site = site
        lengths = {limit.window_s for limit in site.point_of_connection.limits if limit.window_s > 1}
        self._meters = {w: IntervalMeter(int(w // 60), site.time_zone) for w in lengths}

    def update(self, now: datetime, import_kw: float, counted_kwh: float | None, is_metered: bool) -> None:
        """Takes the import as `IntervalMeter.update` does."""
        for meter in self._meters.values():
            meter.update(now, import_kw, counted_kwh, is_metered)

    def lowest(self, now: datetime, allowed: Mapping[Limit, Allowed]) -> tuple[float, str]:
        """The least import in kW that the limits in force allow now, and why; inf and no words where there is none. `allowed`: what limits
        that are more than a number of kW allow (ems/guard/overload.py)."""
        bounds = []
        for limit in interval_limits(self.site.point_of_connection, now):
            aim_kw = self._aim_kw(_kw(limit, allowed), limit.window_s)
            words = f"{limit.kind.value} limit over {limit.window_s:.0f} s ({limit.source}), its mean aimed at {aim_kw:.0f} kW"
            bounds.append((self._meters[limit.window_s].allowed_kw(now, aim_kw), words))
        return min(bounds, default=(math.inf, ""))

    def least_kw(self, now: datetime, allowed: Mapping[Limit, Allowed]) -> float:
        """The least mean in kW that a limit in force allows, whatever its running window leaves; inf where there is none."""
        return min((_kw(limit, allowed) for limit in interval_limits(self.site.point_of_connection, now)), default=math.inf)

    def encode(self) -> dict[str, Any]:
        """Plain data that survives a restart."""
        return {str(w): meter.encode() for w, meter in self._meters.items()}

    def restore(self, data: Mapping[str, Any]) -> None:
        """Takes back what `encode` gave; a window that is new starts empty."""
        for w, meter in self._meters.items():
            if str(w) in data:
                meter.restore(data[str(w)])

    def _aim_kw(self, limit_kw: float, window_s: float) -> float:
        """The mean to aim at: less the margin, which the window gives back where it is taken off the power, and less what a step of the
        load in its last seconds adds before it is answered."""
        step_kw = SWING_SHARE * sum(c.rating_kw for c in self.site.clusters) * min(1.0, ANSWER_S / window_s)
        return limit_kw * (1.0 - self.site.control.import_margin) - min(step_kw, MOST_STEP * limit_kw)


def _kw(limit: Limit, allowed: Mapping[Limit, Allowed]) -> float:
    return allowed[limit].kw if limit in allowed else limit.kw
