"""What halls may draw while their plant can remove less heat than they make: machines tripped, a pump lost, service."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ems.assets.cooling.model import Cooling
from ems.assets.workload.model import Cluster
from ems.plan.inputs import PlanInputs
from ems.site.model import Site

Array = NDArray[np.float64]
ABLE_FOR_H = 1.0  # what is out now is taken to be out for so long: restarts take minutes, and every minute brings a new plan


def most_it_kw(site: Site, inputs: PlanInputs) -> dict[str, Array]:
    """The most IT power of each cluster and step, in kW: its rating, and in the first hour its share of the heat its plant can remove.

    What cannot be held back comes first; the rest goes by the room left to the ratings. Heat a loop takes while it warms is the guard's to
    spend.
    """
    now = np.array([(start - inputs.now).total_seconds() / 3600.0 < ABLE_FOR_H for start in inputs.horizon.starts])
    most = {c.id: np.full(inputs.horizon.n, c.rating_kw) for c in site.clusters}
    for cooling in site.coolings:
        if cooling.id not in inputs.able_kw:
            continue
        for cluster, allowed_kw in _shared_kw(site, inputs, cooling).items():
            most[cluster] = np.where(now, np.minimum(most[cluster], allowed_kw), most[cluster])
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
