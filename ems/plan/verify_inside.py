"""Checks a plan behind the meter from its numbers alone: deadlines of work held back, and what both wear and work cost."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ems.assets.workload.model import DUE_HOURS, Cluster, WorkloadClass
from ems.plan.inputs import PlanInputs, stores_of
from ems.plan.plan import ClassPlan, Plan
from ems.plan.verify_workload import arriving_kw, work_not_done
from ems.site.model import Site

Array = NDArray[np.float64]
TOLERANCE = 0.01  # kW, kWh
MONEY_TOLERANCE = 1e-4  # relative
GRACE_H = 1.0  # deadlines are planned on checkpoints, at most this far apart


def inside_faults(site: Site, inputs: PlanInputs, plan: Plan) -> Iterator[str]:
    """Stores that wear and work that waits or is lost unpaid."""
    yield from _worn(site, plan)
    yield from _work(site, inputs, plan)


def _worn(site: Site, plan: Plan) -> Iterator[str]:
    """What moves wears at least by its net throughput; wear by depth and moving both ways at once only add."""
    if "wear" not in plan.cost:
        return
    hours = np.array(plan.duration_h)
    least = sum(s.wear_price_per_kwh * float(hours @ np.abs(plan.power_kw[s.id])) for s in stores_of(site))
    if plan.cost["wear"] < least - MONEY_TOLERANCE * max(1.0, least):
        yield f"wear costs {plan.cost['wear']:.4f}, at least {least:.4f} by what moves"


def _work(site: Site, inputs: PlanInputs, plan: Plan) -> Iterator[str]:
    """Work held back is paid for; work later than its deadline counts as lost, and must be paid for as that."""
    if "workload" not in plan.cost:
        return
    held = lost = 0.0
    for cluster in site.clusters:
        for name, planned in plan.classes[cluster.id].items():
            kind = cluster.classes[name]
            held += _held_back(kind, planned, arriving_kw(cluster, name, inputs), np.array(plan.duration_h))
            if kind.deadline_h is not None and kind.drop_price_per_kwh is not None:
                lost += kind.drop_price_per_kwh * overdue_kwh(cluster, name, inputs, planned, np.array(plan.duration_h))
    tolerance = MONEY_TOLERANCE * max(1.0, held) + TOLERANCE * (lost > 0.0)
    if plan.cost["workload"] < held - tolerance:
        yield f"work held back costs {plan.cost['workload']:.4f}, not the {held:.4f} by what is held back"
    elif plan.cost["workload"] < held + lost - tolerance - 0.01 * lost:
        yield f"work is late: {lost:.4f} of lost work is not in its cost of {plan.cost['workload']:.4f}"


def _held_back(kind: WorkloadClass, planned: ClassPlan, arriving: Array, hours: Array) -> float:
    """Value of the work not done: along the curve of a class that slows, in proportion to power of one that does not."""
    cuts = (np.array(row) for row in (planned.throttle_kw, planned.defer_kw))
    throttled, deferred = (float(hours @ work_not_done(kind, cut, arriving)) for cut in cuts)
    return (kind.throttle_price_per_kwh or 0.0) * throttled + (kind.defer_price_per_kwh or 0.0) * deferred


def overdue_kwh(cluster: Cluster, name: str, inputs: PlanInputs, planned: ClassPlan, hours: Array) -> float:
    """The most that waits at any boundary beyond its deadline and an hour of grace: not deferred since, and due if it waited before."""
    deadline_h = cluster.classes[name].deadline_h or 0.0
    state = inputs.backlog.get(cluster.id, {}).get(name)
    first_kwh = max(0.0, state.backlog_kwh) if state is not None else 0.0
    due_kwh = state.due_kwh if state is not None else (0.0,) * len(DUE_HOURS)
    at_h = np.r_[0.0, np.cumsum(hours)]
    put_off = work_not_done(cluster.classes[name], np.array(planned.defer_kw), arriving_kw(cluster, name, inputs))
    deferred = np.r_[0.0, np.cumsum(hours * put_off)]
    recovered = np.r_[0.0, np.cumsum(hours * np.array(planned.recover_kw))]
    since = deferred - np.interp(at_h - deadline_h - GRACE_H, at_h, deferred, left=0.0)
    due = np.interp(np.maximum(at_h - GRACE_H, 0.0), (0.0, *DUE_HOURS), (0.0, *due_kwh))
    due = np.where(at_h - GRACE_H >= DUE_HOURS[-1], first_kwh, due)
    not_due = np.clip(first_kwh - due, 0.0, first_kwh)
    return float(np.max(first_kwh + deferred - recovered - since - not_due, initial=0.0))
