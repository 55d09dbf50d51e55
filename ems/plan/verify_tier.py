"""Checks what a plan holds back of work with a tier, and that what is beyond it is paid for, from its numbers alone; shares no code with
the blocks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ems.assets.workload.model import Cluster
from ems.plan.inputs import PlanInputs
from ems.plan.plan import Plan
from ems.plan.verify_workload import arriving_kw, work_not_done
from ems.site.model import Site

Array = NDArray[np.float64]
TIER_MONEY_PER_KWH = 23.0
MONEY_TOLERANCE = 1e-4  # relative
TOLERANCE_KWH = 0.01
GRACE_H = 1.0  # windows are planned from boundaries to checkpoints, each at most this far from where they belong


def tier_faults(site: Site, inputs: PlanInputs, plan: Plan) -> Iterator[str]:
    """Work missing beyond what its tier allows that the plan's cost does not hold."""
    if "workload" not in plan.cost:
        return
    tiers = [(c, name) for c in site.clusters for name, kind in c.classes.items() if kind.tier_loss is not None]
    beyond = {f"{c.id} {name}": beyond_tier_kwh(c, name, inputs, plan) for c, name in tiers}
    money, paid = TIER_MONEY_PER_KWH * sum(beyond.values()), plan.cost.get("tier", 0.0)
    if money - paid > MONEY_TOLERANCE * max(1.0, money) + TIER_MONEY_PER_KWH * TOLERANCE_KWH:
        worst = max(beyond, key=lambda name: beyond[name])
        yield f"{worst}: {beyond[worst]:.3f} kWh beyond its tier; all of it costs at least {money:.4f}, not {paid:.4f}"


def beyond_tier_kwh(cluster: Cluster, name: str, inputs: PlanInputs, plan: Plan) -> float:
    """The most that is missing beyond the tier at the end of any window for an hour on end, each window as kind as an hour's grace at its
    beginning allows. What was lost before now leaves nothing, never less."""
    kind, planned = cluster.classes[name], plan.classes[cluster.id][name]
    hours, arriving = np.array(plan.duration_h), arriving_kw(cluster, name, inputs)
    cut = sum(work_not_done(kind, np.array(row), arriving) for row in (planned.defer_kw, planned.throttle_kw))
    at_h, arrived = np.r_[0.0, np.cumsum(hours)], np.r_[0.0, np.cumsum(hours * arriving)]
    held = np.r_[0.0, np.cumsum(hours * (cut - np.array(planned.recover_kw)))]
    past, loss, window_h = inputs.tier_past.get(cluster.id, {}).get(name), kind.tier_loss or 0.0, kind.tier_window_h
    over = np.zeros(len(at_h))
    for end, end_h in enumerate(at_h.tolist()):
        begins = (at_h >= end_h - window_h - GRACE_H) & (at_h <= max(end_h - window_h + min(GRACE_H, 0.5 * window_h), 0.0))
        before_h = max(0.0, window_h - end_h)
        came, missed = (np.interp(before_h, past.hours, row) for row in (past.arrived_kwh, past.held_kwh)) if past else (0.0, 0.0)
        left = np.maximum(loss * (arrived[end] - arrived[begins] + came) - missed, 0.0)
        over[end] = np.min(held[end] - held[begins] - left, initial=np.inf)
    lasting = [over[(at_h > end_h - GRACE_H + 1e-6) & (at_h <= end_h)].min() for end_h in at_h.tolist()]
    return max(0.0, *lasting)
