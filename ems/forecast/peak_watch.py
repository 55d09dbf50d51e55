"""The peaks to come of every cluster, from the demand of each cycle to the message the guard reads: q95 of the highest demand of the next
10 s to 15 min. The guard may only raise its own measured holds by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from ems.assets.workload.model import ClassState
from ems.forecast.peaks import PeakForecaster
from ems.site.model import Site

LEVEL = 0.95
TELL_EVERY_S = 10.0
VALID = timedelta(seconds=90)  # told six times before it lapses; a coarse replay tells with every step


class PeakWatch:
    """One forecaster per cluster. `step_s` is how often a demand is seen at best; what comes sooner belongs to the step before."""

    def __init__(self, rating_kw: Mapping[str, float], step_s: float) -> None:
        self.step_s = step_s
        self._forecasters = {name: PeakForecaster(kw, step_s=step_s) for name, kw in rating_kw.items()}
        self._step: int | None = None
        self._told_at: datetime | None = None

    def observe(self, now: datetime, demand_kw: Mapping[str, float | None]) -> None:
        """Takes the demand of this instant; steps that nobody saw are gaps."""
        step = int(now.timestamp() // self.step_s)
        if self._step is not None and step <= self._step:
            return
        for name, forecaster in self._forecasters.items():
            if self._step is not None and step > self._step + 1:
                forecaster.observe(None)
            forecaster.observe(demand_kw.get(name))
        self._step = step

    def message(self, now: datetime) -> dict[str, Any] | None:
        """`made_at`, `valid_until`, `windows_s` and per cluster the peaks in kW, one per window; None while the last one is young enough or
        nothing was seen."""
        told_at = self._told_at
        if self._step is None or (told_at is not None and (now - told_at).total_seconds() < TELL_EVERY_S):
            return None
        self._told_at = now
        each = {name: f.forecast(now) for name, f in self._forecasters.items()}
        windows = next((f.windows_s for f in each.values()), ())
        valid_until = now + max(VALID, timedelta(seconds=3.0 * self.step_s))
        peaks = {name: [round(f.peak_kw(w, LEVEL), 1) for w in windows] for name, f in each.items()}
        return {"made_at": now.isoformat(), "valid_until": valid_until.isoformat(), "windows_s": list(windows), "peaks_kw": peaks}


def demand_kw(site: Site, clusters: Mapping[str, Mapping[str, ClassState]]) -> dict[str, float | None]:
    """The uncapped demand of every cluster from its classes as control published them; None where it said nothing."""
    return {c.id: c.idle_kw + sum(k.demand_kw for k in clusters[c.id].values()) if c.id in clusters else None for c in site.clusters}
