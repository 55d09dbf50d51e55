"""What of every tier is used, counted from what was measured, whoever cut it: plan, arbiter, standing cap, person or the cluster itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ems.assets.workload.curve import lost_kw
from ems.assets.workload.model import DEFERRABLE, ClassState, Cluster, ClusterState, TierPast
from ems.assets.workload.tier import TierWindow
from ems.site.model import Site
from ems.state.estimate import SiteState

LONGEST_BRIDGE_S = 600.0  # a longer gap is not counted: nobody saw what was served
FREE_AGAIN = 0.9  # of a tier used up, before its class is cut in its turn again
Key = tuple[str, str]  # cluster, class
NOT_LIMITED: Mapping[Key, float] = {}


class TierUse:
    """Per class with a tier. Work that can wait is missing as its backlog grows, and made up as it falls by what the cluster served beyond
    what came in; what falls beyond that was dropped. Interactive work is served first, up to its limit and the cap. A cluster that was
    silent for up to LONGEST_BRIDGE_S is counted from when it was last seen, as if the whole site had been silent."""

    def __init__(self, site: Site) -> None:
        self._clusters = {c.id: c for c in site.clusters}
        self.windows: dict[Key, TierWindow] = {
            (c.id, name): TierWindow(kind) for c in site.clusters for name, kind in c.classes.items() if kind.tier_loss is not None
        }
        self.spent: frozenset[Key] = frozenset()
        self._backlog_kwh: dict[Key, float] = {}  # of every class that can wait, with a tier or without, when its cluster was last seen
        self._last: dict[str, datetime] = {}  # when each cluster was last seen

    def update(self, state: SiteState, limits_kw: Mapping[Key, float] = NOT_LIMITED) -> frozenset[Key]:
        """Takes one cycle, with the class limits in force; the classes whose tier is used up."""
        for name in {cluster for cluster, _ in self.windows}:
            if state.clusters[name].is_fresh:
                self._count(self._clusters[name], state.clusters[name], state.now, limits_kw)
        self.spent = frozenset(k for k, w in self.windows.items() if w.is_spent or (k in self.spent and w.used > FREE_AGAIN))
        return self.spent

    def _count(self, cluster: Cluster, seen: ClusterState, now: datetime, limits_kw: Mapping[Key, float]) -> None:
        """Takes what a cluster did since it was last seen."""
        seconds = max(0.0, (now - self._last.get(cluster.id, now)).total_seconds())
        self._last[cluster.id] = now
        missing_kwh = self._missing_kwh(cluster, seen, seconds / 3600.0, limits_kw)
        if 0.0 < seconds <= LONGEST_BRIDGE_S:
            for name, kwh in missing_kwh.items():
                if (window := self.windows.get((cluster.id, name))) is not None:
                    window.add(now.timestamp() - seconds, seconds, seen.classes[name].demand_kw * seconds / 3600.0, kwh)

    def _missing_kwh(self, cluster: Cluster, seen: ClusterState, hours: float, limits_kw: Mapping[Key, float]) -> dict[str, float]:
        """Of each class what is missing of the work that came in; less than nothing is what was made up of earlier work."""
        room_kw = max(0.0, (cluster.rating_kw if seen.cap_kw is None else seen.cap_kw) - cluster.idle_kw)
        cut_kw, grown_kwh = dict[str, float](), dict[str, float]()
        for name, work in seen.classes.items():
            if name in DEFERRABLE:
                grown_kwh[name] = self._grown_kwh((cluster.id, name), work, hours)
            else:
                cut_kw[name] = max(0.0, work.demand_kw - min(limits_kw.get((cluster.id, name), room_kw), room_kw))
        put_off_kwh = sum(max(0.0, kwh) for kwh in grown_kwh.values()) + sum(cut_kw.values()) * hours
        fresh_kwh = sum(max(0.0, work.demand_kw) for work in seen.classes.values()) * hours - put_off_kwh
        # All power above idle that did not go into fresh work made up old work: a backlog that falls by more was dropped.
        made_up_kwh = max(0.0, max(0.0, seen.power_kw - cluster.idle_kw) * hours - fresh_kwh)
        curves = {name: cluster.classes[name].throughput_by_power for name in cut_kw}
        lost_kwh = {name: hours * lost_kw(curves[name], kw, seen.classes[name].demand_kw) for name, kw in cut_kw.items()}
        return lost_kwh | {name: max(kwh, -made_up_kwh) for name, kwh in grown_kwh.items()}

    def _grown_kwh(self, key: Key, work: ClassState, hours: float) -> float:
        """By how much the backlog of a class grew; no more is put off than arrives."""
        before_kwh = self._backlog_kwh.get(key, work.backlog_kwh)
        self._backlog_kwh[key] = work.backlog_kwh
        return min(work.backlog_kwh - before_kwh, max(0.0, work.demand_kw) * hours)

    def used(self) -> dict[str, dict[str, float]]:
        """Per cluster and class, the share of its tier that is used."""
        found: dict[str, dict[str, float]] = {}
        for (cluster, name), window in self.windows.items():
            found.setdefault(cluster, {})[name] = window.used
        return found

    def past(self, now: datetime) -> dict[str, dict[str, TierPast]]:
        """Per cluster and class, for the plan."""
        found: dict[str, dict[str, TierPast]] = {}
        for (cluster, name), window in self.windows.items():
            found.setdefault(cluster, {})[name] = window.past(now.timestamp())
        return found

    def encode(self) -> dict[str, Any]:
        """Plain data for the journal."""
        return {f"{cluster}:{name}": window.encode() for (cluster, name), window in self.windows.items()}

    def restore(self, data: Mapping[str, Any]) -> None:
        """Takes back what `encode` gave."""
        for (cluster, name), window in self.windows.items():
            window.restore(data.get(f"{cluster}:{name}", []))
