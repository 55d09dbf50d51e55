"""What the clusters ask for: the peak of the last seconds (for headroom) and the mean of the last minutes (for energy)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ems.site.model import Site
from ems.state.estimate import SiteState
from ems.state.hold import PeakHold

MEAN_TAU_S = 120.0  # a 10-s texture is averaged out, a shift of the load is followed within a few minutes


@dataclass(frozen=True, slots=True)
class ClusterTrend:
    """One cluster, kW: the held peak of its uncapped demand, and smoothed and held demand per class (above idle)."""

    held_kw: float
    mean_kw: dict[str, float]
    class_held_kw: dict[str, float]


class DemandTrend:
    """Follows every cluster's demand; deterministic, a few floats per class."""

    def __init__(self, site: Site) -> None:
        window_s = site.control.peak_hold_s
        self._hold = {c.id: PeakHold(window_s) for c in site.clusters}
        self._class_hold = {c.id: {k: PeakHold(window_s) for k in c.classes} for c in site.clusters}
        self._mean: dict[str, dict[str, float]] = {}
        self._last_s: float | None = None

    def update(self, state: SiteState) -> dict[str, ClusterTrend]:
        """Takes the state of this cycle and returns the trend per cluster."""
        now_s = state.now.timestamp()
        weight = 1.0 if self._last_s is None else 1.0 - math.exp(-max(0.0, now_s - self._last_s) / MEAN_TAU_S)
        self._last_s = now_s
        return {cluster_id: self._cluster(cluster_id, state, weight) for cluster_id in self._hold}

    def _cluster(self, cluster_id: str, state: SiteState, weight: float) -> ClusterTrend:
        now, cluster = state.now, state.clusters[cluster_id]
        mean = self._mean.setdefault(cluster_id, {k: c.demand_kw for k, c in cluster.classes.items()})
        held = {}
        for name, work in cluster.classes.items():
            mean[name] = mean.get(name, work.demand_kw) + weight * (work.demand_kw - mean.get(name, work.demand_kw))
            held[name] = self._class_hold[cluster_id][name].update(now, work.demand_kw)
        return ClusterTrend(self._hold[cluster_id].update(now, cluster.demand_kw), dict(mean), held)
