"""Checks what a plan does with the work of a cluster, from its numbers alone, in plain arithmetic; shares no code with the blocks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ems.assets.workload.model import Cluster, WorkloadClass
from ems.plan.inputs import PlanInputs
from ems.plan.plan import Plan

Array = NDArray[np.float64]
TOLERANCE = 0.01  # kW, kWh


def cluster_faults(cluster: Cluster, inputs: PlanInputs, plan: Plan) -> Iterator[str]:
    """Negative powers, cuts of what does not arrive, work made up that does not wait, power that is not what is served."""
    hours = np.array(plan.duration_h)
    demand: Array = np.clip(inputs.load_q50_kw[cluster.id], cluster.idle_kw, cluster.rating_kw)
    served, beside = demand.copy(), np.zeros(len(demand))
    for name, planned in plan.classes[cluster.id].items():
        defer, recover, throttle = (np.array(r) for r in (planned.defer_kw, planned.recover_kw, planned.throttle_kw))
        yield from _worst(f"{cluster.id} {name}: negative power", -np.minimum(np.minimum(defer, recover), throttle))
        kind = cluster.classes[name]
        arriving = arriving_kw(cluster, name, inputs)
        yield from _worst(f"{cluster.id} {name}: cuts more than arrives", defer + throttle - arriving)
        state = inputs.backlog.get(cluster.id, {}).get(name)
        put_off = work_not_done(kind, defer, arriving)
        waiting = (max(0.0, state.backlog_kwh) if state else 0.0) + np.cumsum(hours * (put_off - recover))
        yield from _worst(f"{cluster.id} {name}: recovers more than waits", -waiting)
        served += recover - defer - throttle
        beside += recover * bool(kind.throughput_by_power)
    power = np.array(plan.power_kw[cluster.id])
    yield from _worst(f"{cluster.id}: power is not what is served", abs(power - served))
    yield from _worst(f"{cluster.id}: above its rating", power - cluster.rating_kw)
    yield from _worst(f"{cluster.id}: recovers on machines that do not stand free", beside - (cluster.rating_kw - demand))


def arriving_kw(cluster: Cluster, name: str, inputs: PlanInputs) -> Array:
    """What arrives of a class in each step, in kW at full speed."""
    demand = np.clip(inputs.load_q50_kw[cluster.id], cluster.idle_kw, cluster.rating_kw)
    return np.asarray(cluster.classes[name].share * (demand - cluster.idle_kw))


def work_not_done(kind: WorkloadClass, cut: Array, arriving: Array) -> Array:
    """Work, in kW at full speed, that a cut of the power of what arrives leaves undone."""
    if not kind.throughput_by_power:
        return cut
    power, work = zip(*kind.throughput_by_power, strict=True)
    is_there = arriving > 1e-9
    kept = np.interp(1.0 - cut / np.where(is_there, arriving, 1.0), power, work)
    return np.where(is_there, arriving * (1.0 - kept), cut)


def _worst(name: str, excess: Array) -> Iterator[str]:
    """A fault naming the step in which something is exceeded most."""
    step = int(np.argmax(excess))
    if excess[step] > TOLERANCE:
        yield f"{name} by {excess[step]:.3f} in step {step}"
