"""Checks how a plan answers other courses of the load, from its numbers alone, in plain arithmetic; shares no code with the branches."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ems.assets.battery.model import Battery
from ems.assets.ups.model import Ups
from ems.plan.inputs import LoadBranch, PlanInputs, stores_of
from ems.plan.plan import BranchPlan, Plan
from ems.plan.verify_workload import arriving_kw, work_not_done
from ems.site.model import Site

Array = NDArray[np.float64]
TOLERANCE = 0.05  # kW, kWh: powers are rounded, and sums of many of them are compared
GRACE_H = 1.0  # deadlines are planned on checkpoints, at most this far apart


def branch_faults(site: Site, inputs: PlanInputs, plan: Plan) -> Iterator[str]:
    """What is wrong with the answers to the branches, in words."""
    if len(plan.branches) != len(inputs.branches):
        yield f"{len(plan.branches)} answers to {len(inputs.branches)} branches of the load"
        return
    for number, (course, answer) in enumerate(zip(inputs.branches, plan.branches, strict=True)):
        first = len(plan.import_kw) - len(answer.import_kw)
        checks = (_import(site, inputs, plan, course, answer), _stored(site, inputs, plan, answer), _peak(site, inputs, plan, answer))
        for check in (*checks, _waiting(site, inputs, plan, course, answer)):
            yield from (f"branch {number}, after step {first}: {fault}" for fault in check)


def _peak(site: Site, inputs: PlanInputs, plan: Plan, answer: BranchPlan) -> Iterator[str]:
    """This month's peak holds every later step that is at least a billing interval long."""
    turns_s = min(t.timestamp() if t else math.inf for t in (inputs.meter.next_month_at, inputs.settle_at))
    first = len(plan.import_kw) - len(answer.import_kw)
    for start, hours, kw in zip(plan.starts[first:], plan.duration_h[first:], answer.import_kw, strict=True):
        is_whole = hours * 60 >= site.tariff.demand_interval_min and start.timestamp() % (site.tariff.demand_interval_min * 60) == 0.0
        if is_whole and start.timestamp() < turns_s and kw > answer.reach_kw[0] + TOLERANCE:
            yield f"its peak of {answer.reach_kw[0]:.3f} is below the {kw:.3f} from {start:%H:%M}"


def _import(site: Site, inputs: PlanInputs, plan: Plan, course: LoadBranch, answer: BranchPlan) -> Iterator[str]:
    """The median's import, the load's difference as import, other storage, other deferral."""
    first = len(plan.import_kw) - len(answer.import_kw)
    extra_kw = np.zeros(len(plan.import_kw))
    for c in site.clusters:
        extra_kw += np.clip(course.load_kw[c.id], c.idle_kw, c.rating_kw) - np.clip(inputs.load_q50_kw[c.id], c.idle_kw, c.rating_kw)
    least_gain = min(_gain(site, t, counts_plants=False) for t in (10.0, 40.0))
    median_kw = sum((np.array(plan.power_kw[s.id]) for s in stores_of(site)), start=np.zeros(len(extra_kw)))
    for cluster, name in _soonest(site):
        planned = plan.classes[cluster][name]
        median_kw = median_kw - least_gain * (np.array(planned.defer_kw) - np.array(planned.recover_kw))
    waited_kw = least_gain * (np.array(answer.defer_kw) - np.array(answer.recover_kw))
    own_kw = np.array(answer.charge_kw) - np.array(answer.discharge_kw) - waited_kw
    gains = np.array([_gain(site, float(t), counts_plants=True) for t in inputs.outdoor_temp_c])
    due_kw = (np.array(plan.import_kw) + gains * extra_kw - median_kw)[first:] + own_kw
    yield from _worst("import is not the sum of its parts", np.abs(np.array(answer.import_kw) - due_kw))


def _stored(site: Site, inputs: PlanInputs, plan: Plan, answer: BranchPlan) -> Iterator[str]:
    stores, first = stores_of(site), len(plan.import_kw) - len(answer.import_kw)
    hours = np.array(plan.duration_h)[first:]
    begin_kwh = sum(s.discharge_efficiency * plan.energy_kwh[s.id][first] for s in stores)
    kept = min((s.charge_efficiency * s.discharge_efficiency for s in stores), default=1.0)
    charge, discharge, stored = (np.array(row) for row in (answer.charge_kw, answer.discharge_kw, answer.stored_kwh))
    yield from _worst("does not begin with what is stored", np.abs(stored[:1] - begin_kwh))
    yield from _worst("stored energy from nowhere", np.diff(stored) - hours * (kept * charge - discharge))
    least_kwh = sum(s.discharge_efficiency * _least_kwh(s, inputs, float(sum(plan.duration_h))) for s in stores)
    most_kwh = sum(s.discharge_efficiency * _most_kwh(s, inputs) for s in stores)
    yield from _worst("stores below what they keep", least_kwh - stored)
    yield from _worst("stores above full", stored - most_kwh)
    able = [s for s in stores if s.id not in inputs.unavailable]
    charge_kw = sum(s.power_kw if isinstance(s, Battery) else s.charge_kw for s in able)
    discharge_kw = sum(s.power_kw if isinstance(s, Battery) else s.rating_kw for s in able)
    yield from _worst("stores above their ratings", np.maximum(charge - charge_kw, discharge - discharge_kw))
    yield from _worst("negative power", -np.minimum(charge, discharge))


def _least_kwh(store: Battery | Ups, inputs: PlanInputs, horizon_h: float) -> float:
    """What a store keeps for certain: its window or its reserve, or what is left of less."""
    now_kwh = inputs.store_energy_kwh[store.id]
    if isinstance(store, Battery):
        floor_kwh = store.soc_min * store.energy_kwh * inputs.present.get(store.id, 1.0)
        return min(floor_kwh, now_kwh - store.auxiliary_kw * horizon_h)
    return min(inputs.reserve_kwh.get(store.id, 0.0), max(now_kwh, 0.0))


def _most_kwh(store: Battery | Ups, inputs: PlanInputs) -> float:
    share = store.soc_max * inputs.present.get(store.id, 1.0) if isinstance(store, Battery) else 1.0
    return max(share * store.energy_kwh, inputs.store_energy_kwh[store.id])


def _waiting(site: Site, inputs: PlanInputs, plan: Plan, course: LoadBranch, answer: BranchPlan) -> Iterator[str]:
    first = len(plan.import_kw) - len(answer.import_kw)
    hours = np.array(plan.duration_h)[first:]
    defer, recover, drop, backlog = (np.array(row) for row in (answer.defer_kw, answer.recover_kw, answer.drop_kwh, answer.backlog_kwh))
    arriving, most_kwh, deadline_h = np.zeros(len(defer)), 0.0, 0.0
    clusters = {c.id: c for c in site.clusters}
    for cluster, name in _soonest(site):
        c, planned, state = clusters[cluster], plan.classes[cluster][name], inputs.backlog.get(cluster, {}).get(name)
        arriving += c.classes[name].share * (np.clip(course.load_kw[cluster], c.idle_kw, c.rating_kw) - c.idle_kw)[first:]
        put_off = work_not_done(c.classes[name], np.array(planned.defer_kw), arriving_kw(c, name, inputs))
        waited = np.array(plan.duration_h) * (put_off - np.array(planned.recover_kw))
        most_kwh += (max(0.0, state.backlog_kwh) if state else 0.0) + float(waited[:first].sum())
        deadline_h = c.classes[name].deadline_h or 0.0
    yield from _worst("defers more than arrives", defer - arriving)
    yield from _worst("negative work", -np.minimum(np.minimum(defer, recover), np.minimum(drop, backlog[1:])))
    yield from _worst("begins with more than waits", backlog[:1] - most_kwh)
    yield from _worst("work from nowhere", np.abs(np.diff(backlog) - (hours * (defer - recover) - drop)))
    at_h, deferred = np.r_[0.0, np.cumsum(hours)], backlog[0] + np.r_[0.0, np.cumsum(hours * defer)]
    since = deferred - np.interp(at_h - deadline_h - GRACE_H, at_h, deferred, left=0.0)
    yield from _worst("work is late", backlog - since)


def _soonest(site: Site) -> list[tuple[str, str]]:
    """Cluster and class of the work that may wait for the shortest time."""
    kinds = [(c.id, n, k) for c in site.clusters for n, k in c.classes.items() if k.deadline_h and k.defer_price_per_kwh is not None]
    shortest_h = min((k.deadline_h or 0.0 for _, _, k in kinds), default=0.0)
    return [(cluster, name) for cluster, name, k in kinds if k.deadline_h == shortest_h]


def _gain(site: Site, temp_c: float, counts_plants: bool) -> float:
    """Import per kW of IT, the mean over clusters by rating: the power itself, losses, cooling."""
    total_kw = sum(c.rating_kw for c in site.clusters)
    share = {c.id: c.rating_kw / max(total_kw, 1e-9) for c in site.clusters}
    losses = sum(u.loss_fraction * share.get(i, 0.0) for u in site.upses for i in u.carries)
    cooled = [x for x in site.coolings if counts_plants or x.plant is None]
    return 1.0 + losses + sum(x.fraction(temp_c) * share.get(i, 0.0) for x in cooled for i in x.cools)


def _worst(name: str, excess: Array) -> Iterator[str]:
    step = int(np.argmax(excess)) if len(excess) else 0
    if len(excess) and excess[step] > TOLERANCE:
        yield f"{name} by {excess[step]:.3f} in step {step}"
