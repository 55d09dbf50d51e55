"""What halls may draw while their plant can remove less heat than they make: machines out of order, a pump lost, service.

The guard sees the loop second by second and cuts less than a plan that holds for minutes would: planned from the first minute on, six
chiller trips lost half as much work again, and two outages of 90 minutes 4 to 6 %. So the next minutes are the guard's. What is still out
after twice its restart is planned with from then on: what storage, work and grid may expect of the hour.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from ems.assets.cooling.model import Cooling
from ems.assets.cooling.plant import RESTARTS
from ems.assets.workload.model import Cluster
from ems.plan.inputs import PlanInputs
from ems.site.model import Site

Array = NDArray[np.float64]
FROM_H, UNTIL_H = 1.0 / 6.0, 1.0  # the part of what comes that is planned so; every plan looks anew


class RemovedHeat:
    """What each plant said it can remove, long enough to know what stays out."""

    def __init__(self, site: Site) -> None:
        self._lasts = {c.id: timedelta(seconds=RESTARTS * c.plant.restart_s) for c in site.coolings if c.plant is not None}
        self._said: dict[str, deque[tuple[datetime, float]]] = {}

    def observe(self, at: datetime, able_kw: Mapping[str, float]) -> None:
        """Takes what the plants of a state say; a silent one has to be heard for as long anew."""
        self._said = {name: self._said.get(name, deque()) for name in self._lasts if name in able_kw}
        for name, said in self._said.items():
            if said and at <= said[-1][0]:
                continue
            said.append((at, able_kw[name]))
            while len(said) > 1 and at - said[1][0] >= self._lasts[name]:
                said.popleft()

    def lastingly_kw(self, now: datetime) -> dict[str, float]:
        """The most each plant could remove in the last two restarts, in kW of heat; none for one not heard for so long."""
        heard = {name: said for name, said in self._said.items() if said and now - said[0][0] >= self._lasts[name]}
        return {name: max(kw for _, kw in said) for name, said in heard.items()}


def most_it_kw(site: Site, inputs: PlanInputs) -> dict[str, Array]:
    """The most IT power of each cluster and step, in kW: its rating, and until an hour ahead its share of the heat its plant can remove.

    What cannot be held back comes first; the rest goes by the room left to the ratings. Heat a loop takes while it warms is the guard's to
    spend.
    """
    ahead_h = np.array([(start - inputs.now).total_seconds() / 3600.0 for start in inputs.horizon.starts])
    is_bound = (ahead_h >= FROM_H) & (ahead_h < UNTIL_H)
    most = {c.id: np.full(inputs.horizon.n, c.rating_kw) for c in site.clusters}
    for cooling in site.coolings:
        if cooling.id not in inputs.able_kw:
            continue
        for cluster, allowed_kw in _shared_kw(site, inputs, cooling).items():
            most[cluster] = np.where(is_bound, np.minimum(most[cluster], allowed_kw), most[cluster])
    return most


def _shared_kw(site: Site, inputs: PlanInputs, cooling: Cooling) -> dict[str, Array]:
    halls = [c for c in site.clusters if c.id in cooling.cools]
    must_kw = {c.id: _must_kw(c, inputs.load_q50_kw[c.id]) for c in halls}
    room_kw = {c.id: c.rating_kw - must_kw[c.id] for c in halls}
    none = np.zeros(inputs.horizon.n)
    left_kw = np.maximum(inputs.able_kw[cooling.id] - sum(must_kw.values(), start=none), 0.0)
    share = left_kw / np.maximum(sum(room_kw.values(), start=none), 1e-9)
    return {c.id: must_kw[c.id] + share * room_kw[c.id] for c in halls}


def _must_kw(cluster: Cluster, demand_kw: Array) -> Array:
    """What nobody may throttle or defer, idle power included."""
    demand_kw = np.clip(demand_kw, cluster.idle_kw, cluster.rating_kw)
    may_wait = [k for k in cluster.classes.values() if k.throttle_price_per_kwh is not None or k.defer_price_per_kwh is not None]
    return np.asarray(demand_kw - min(1.0, sum(k.share for k in may_wait)) * (demand_kw - cluster.idle_kw))
