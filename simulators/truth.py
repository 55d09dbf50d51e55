"""What the plant really did, kept while it runs: seconds above the limit, reserve, windows."""

from __future__ import annotations

import math
from collections import deque
from datetime import UTC, datetime
from typing import Any

from ems.site.model import Site
from simulators.plant import PlantStep

TOLERANCE = 1.001
KEPT_INTERVALS = 200
EDGE_S = 1e-3  # an instant this close before a whole second belongs to that second


class Truth:
    """Counts excursions of the 1-s mean import, reserve shortfall and energy outside windows. Steps must not cross a whole second."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._second = -1
        self._kws = 0.0
        self._seconds = 0.0
        self._open: dict[str, Any] | None = None
        self.intervals: deque[dict[str, Any]] = deque(maxlen=KEPT_INTERVALS)
        self.excursion_s = 0.0
        self.excursion_longest_s = 0.0
        self.excursion_max_kw = 0.0  # above the limit
        self.excursion_kwh = 0.0
        self.reserve_shortfall_s = 0.0
        self.soc_breach_kwh = 0.0
        self.import_kwh = 0.0
        self.simulated_s = 0.0
        self.last: PlantStep | None = None

    def count(self, step: PlantStep) -> None:
        """Takes one step into account."""
        self.last = step
        self.simulated_s += step.dt_s
        self.import_kwh += max(0.0, step.poc_kw) * step.dt_s / 3600.0
        self.soc_breach_kwh += step.soc_breach_kwh
        if any(missing > 0.0 for missing in step.reserve_shortfall_kwh.values()):
            self.reserve_shortfall_s += step.dt_s
        second = math.floor(step.at.timestamp() + EDGE_S)
        if second != self._second:
            self._close_second()
            self._second = second
        self._kws += max(0.0, step.poc_kw) * step.dt_s
        self._seconds += step.dt_s

    def summary(self) -> dict[str, Any]:
        """Plain data for plant.json; times are site time."""
        step = self.last
        return {
            "simulated_s": self.simulated_s,
            "import_kwh": self.import_kwh,
            "excursions": {
                "seconds": self.excursion_s,
                "longest_s": self.excursion_longest_s,
                "max_kw": self.excursion_max_kw,
                "kwh": self.excursion_kwh,
                "intervals": list(self.intervals),
            },
            "reserve_shortfall_s": self.reserve_shortfall_s,
            "soc_breach_kwh": self.soc_breach_kwh,
            "poc_kw": step.poc_kw if step else None,
            "asset_kw": dict(step.asset_kw) if step else {},
            "stored_kwh": dict(step.stored_kwh) if step else {},
        }

    def _limit_kw(self, at: datetime) -> float:
        limits = self._site.point_of_connection.limits
        return min((limit.kw for limit in limits if limit.window_s <= 1.0 and limit.is_valid(at) and not limit.curve), default=math.inf)

    def _close_second(self) -> None:
        if self._seconds <= 0.0:
            return
        mean_kw, lasted_s = self._kws / self._seconds, self._seconds
        at = datetime.fromtimestamp(self._second, UTC)
        limit_kw = self._limit_kw(at)
        self._kws = self._seconds = 0.0
        if mean_kw <= limit_kw * TOLERANCE:
            self._open = None
            return
        self._note(at, lasted_s, mean_kw, limit_kw)

    def _note(self, at: datetime, lasted_s: float, mean_kw: float, limit_kw: float) -> None:
        over_kw = mean_kw - limit_kw
        if self._open is None:
            self._open = {"start": at.isoformat(), "seconds": 0.0, "max_kw": 0.0, "limit_kw": limit_kw}
            self.intervals.append(self._open)
        self._open["seconds"] += lasted_s
        self._open["end"] = datetime.fromtimestamp(self._second + 1, UTC).isoformat()
        self._open["max_kw"] = max(self._open["max_kw"], over_kw)
        self.excursion_s += lasted_s
        self.excursion_kwh += over_kw * lasted_s / 3600.0
        self.excursion_max_kw = max(self.excursion_max_kw, over_kw)
        self.excursion_longest_s = max(self.excursion_longest_s, self._open["seconds"])
