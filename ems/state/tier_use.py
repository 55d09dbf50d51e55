"""What of every tier is used, counted from what was measured, whoever cut it: plan, arbiter, standing cap, person or the cluster itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ems.assets.workload.curve import lost_kw
from ems.assets.workload.model import DEFERRABLE, Cluster, ClusterState, TierPast
from ems.assets.workload.tier import TierWindow
from ems.site.model import Site
from ems.state.estimate import SiteState

LONGEST_BRIDGE_S = 600.0  # a longer gap is not counted: nobody saw what was served
FREE_AGAIN = 0.9  # of a tier used up, before its class is cut in its turn again
Key = tuple[str, str]  # cluster, class
NOT_LIMITED: Mapping[Key, float] = {}


class TierUse:
    """Per class with a tier. Work that can wait is missing as its backlog grows, and made up as it falls by what the cluster could have
    served; what falls beyond that was dropped. Interactive work is served first, up to its limit and the cap."""

    def __init__(self, site: Site) -> None:
        self._clusters = {c.id: c for c in site.clusters}
        self.windows: dict[Key, TierWindow] = {
            (c.id, name): TierWindow(kind) for c in site.clusters for name, kind in c.classes.items() if kind.tier_loss is not None
        }
        self.spent: frozenset[Key] = frozenset()
        self._backlog_kwh: dict[Key, float] = {}
        self._last: datetime | None = None

    def update(self, state: SiteState, limits_kw: Mapping[Key, float] = NOT_LIMITED) -> frozenset[Key]:
        """Takes one cycle, with the class limits in force; the classes whose tier is used up."""
        if not self.windows:
            return self.spent
        seconds = 0.0 if self._last is None else max(0.0, (state.now - self._last).total_seconds())
        is_seen = 0.0 < seconds <= LONGEST_BRIDGE_S
        begin_s = state.now.timestamp() - seconds
        self._last = state.now
        for key, window in self.windows.items():
            cluster, seen = self._clusters[key[0]], state.clusters[key[0]]
            if not seen.is_fresh or key[1] not in seen.classes:
                continue
            missing_kwh = self._missing_kwh(key, cluster, seen, seconds / 3600.0, limits_kw)
            if is_seen:
                window.add(begin_s, seconds, seen.classes[key[1]].demand_kw * seconds / 3600.0, missing_kwh)
        self.spent = frozenset(k for k, w in self.windows.items() if w.is_spent or (k in self.spent and w.used > FREE_AGAIN))
        return self.spent

    def _missing_kwh(self, key: Key, cluster: Cluster, seen: ClusterState, hours: float, limits_kw: Mapping[Key, float]) -> float:
        work = seen.classes[key[1]]
        room_kw = max(0.0, (cluster.rating_kw if seen.cap_kw is None else seen.cap_kw) - cluster.idle_kw)
        if key[1] in DEFERRABLE:
            before_kwh = self._backlog_kwh.get(key, work.backlog_kwh)
            self._backlog_kwh[key] = work.backlog_kwh
            served_kwh = max(0.0, seen.power_kw - cluster.idle_kw) * hours
            grown_kwh = min(work.backlog_kwh - before_kwh, max(0.0, work.demand_kw) * hours)  # no more is put off than arrives
            return max(grown_kwh, -served_kwh)
        cut_kw = max(0.0, work.demand_kw - min(limits_kw.get(key, room_kw), room_kw))
        return hours * lost_kw(cluster.classes[key[1]].throughput_by_power, cut_kw, work.demand_kw)

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
