"""What plans held back of each tier before now, so that a window is not given its whole allowance again with every plan.

Counted as planned, step by step until the next plan. What the guard cuts beyond a plan is not in it.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta

import numpy as np

from ems.assets.workload.curve import lost_kw
from ems.assets.workload.model import TierPast
from ems.plan.plan import Plan
from ems.site.model import Site

KEPT = timedelta(hours=24)
HOUR = timedelta(hours=1)
Key = tuple[str, str]  # cluster, class


class TierBook:
    """Takes the plan in force when the next one is made; what it counted already it does not count again."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.keys: list[Key] = [(c.id, name) for c in site.clusters for name, k in c.classes.items() if k.tier_loss is not None]
        self._rows: deque[tuple[datetime, datetime, dict[Key, tuple[float, float]]]] = deque()

    def add(self, plan: Plan, until: datetime) -> None:
        """Counts what a plan held back up to now."""
        begin, end = max(plan.starts[0], self._rows[-1][1] if self._rows else plan.starts[0]), min(until, plan.horizon.end)
        if not self.keys or end <= begin:
            return
        steps = zip(plan.starts, plan.duration_h, strict=True)
        hours = np.array([max(0.0, (min(end, s + HOUR * h) - max(begin, s)) / HOUR) for s, h in steps])
        self._rows.append((begin, end, {key: self._kwh(plan, key, hours) for key in self.keys}))
        while self._rows and self._rows[0][1] < until - KEPT:
            self._rows.popleft()

    def past(self, now: datetime) -> dict[str, dict[str, TierPast]]:
        """Per cluster and class."""
        found: dict[str, dict[str, TierPast]] = {}
        for cluster, name in self.keys:
            found.setdefault(cluster, {})[name] = self._past((cluster, name), now)
        return found

    def _past(self, key: Key, now: datetime) -> TierPast:
        hours, arrived, held = [0.0], [0.0], [0.0]
        for start, end, kwh in reversed(self._rows):
            for at, share in ((end, 0.0), (start, 1.0)):
                ago = (now - at) / HOUR
                if ago > hours[-1]:
                    hours.append(ago)
                    arrived.append(arrived[-1] + share * kwh[key][0])
                    held.append(held[-1] + share * kwh[key][1])
        return TierPast(tuple(hours), tuple(arrived), tuple(held))

    def _kwh(self, plan: Plan, key: Key, hours: np.ndarray) -> tuple[float, float]:
        cluster = next(c for c in self.site.clusters if c.id == key[0])
        demand = np.clip(plan.load_q50_kw[cluster.id], cluster.idle_kw, cluster.rating_kw) - cluster.idle_kw
        work = plan.classes[cluster.id][key[1]]
        kind = cluster.classes[key[1]]
        cut, arriving = np.array(work.throttle_kw) + np.array(work.defer_kw), kind.share * demand
        lost = [lost_kw(kind.throughput_by_power, *kw) for kw in zip(cut.tolist(), arriving.tolist(), strict=True)]
        return float(hours @ arriving), float(hours @ (np.array(lost) - np.array(work.recover_kw)))
