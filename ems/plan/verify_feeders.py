"""Checks what a plan lets flow through feeders, either way and for a partner, from its numbers alone; shares no code with the blocks.

Feeders are soft in the plan: a load may be there that nobody can take away. More than a feeder may carry stands only where nothing below it
could yield: work that may be cut, stores that charge or give without need, sources that may give less.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ems.assets.generator.model import Generator
from ems.assets.workload.model import Cluster, WorkloadClass
from ems.plan.inputs import PlanInputs
from ems.plan.plan import Plan
from ems.plan.verify_flows import drawn_kw, flows_kw
from ems.plan.verify_tier import TIER_MONEY_PER_KWH
from ems.site.model import Feeder, Site

Array = NDArray[np.float64]
TOLERANCE = 0.01  # kW, kWh
FEEDER_MONEY_PER_KWH = 50.0  # the least a kWh above a feeder costs: work dearer than that, its tier counted, need not yield
LOST_MONEY_PER_KWH = 100.0  # of work without a price for losing it
FAST_S = 300.0  # in which a machine that follows every step crosses its range


def feeder_faults(site: Site, inputs: PlanInputs, plan: Plan) -> Iterator[str]:
    """Feeders that carry more, or feed back more, than they may at the temperature foreseen, although something below could yield."""
    flow = flows_kw(site, drawn_kw(site, inputs, plan))
    for feeder, group in _groups(site):
        yield from _held(site, feeder, group, sum((flow[f.id] for f in group), start=np.zeros(inputs.horizon.n)), inputs, plan)


def is_fed_back_in_full(site: Site, asset: str, inputs: PlanInputs, plan: Plan) -> NDArray[np.bool_]:
    """Steps in which a feeder above an asset can take no more from below."""
    full, flow = np.zeros(inputs.horizon.n, dtype=bool), flows_kw(site, drawn_kw(site, inputs, plan))
    for feeder, group in _groups(site):
        if any(asset in _below(f, site.feeders) for f in group):
            full |= -sum(flow[f.id] for f in group) >= feeder.limit_kw * _ambient_share(feeder, inputs) - TOLERANCE
    return full


def is_fast(g: Generator) -> bool:
    """True for a machine that may give any power from step to step."""
    return g.ramp_kw_per_s * FAST_S >= g.power_kw and not g.is_baseload


def _groups(site: Site) -> Iterator[tuple[Feeder, tuple[Feeder, ...]]]:
    """Every feeder with what it has to carry: itself, and itself with its partner."""
    known = {f.id: f for f in site.feeders}
    for feeder in site.feeders:
        yield feeder, (feeder,)
        if feeder.partner in known:
            yield feeder, (feeder, known[feeder.partner])


def _held(site: Site, feeder: Feeder, feeders: tuple[Feeder, ...], flow: Array, inputs: PlanInputs, plan: Plan) -> Iterator[str]:
    """One feeder, for itself or for itself and its partner."""
    below = {a for f in feeders for a in _below(f, site.feeders)}
    allowed = feeder.limit_kw * _ambient_share(feeder, inputs)
    name = feeder.id if len(feeders) == 1 else f"{feeder.id}, its partner's load included"
    work, charge = _cuttable(site, below, plan), _charge(site, below, inputs, plan)
    is_exporting_all = -np.array(plan.import_kw) >= max(0.0, site.point_of_connection.export_limit_kw) - TOLERANCE
    above = flow - allowed
    excess = np.minimum(above, work + charge) * ~(is_exporting_all & _has_sources(site))
    step = int(np.argmax(excess))
    if excess[step] > TOLERANCE:
        why = "work could still be cut" if work[step] > TOLERANCE else "a store below need not charge"
        yield f"{name}: above its limit by {above[step]:.3f} in step {step} although {why}"
    back = np.minimum(-flow - allowed, _given(site, below, plan))
    step = int(np.argmax(back))
    if back[step] > TOLERANCE:
        yield f"{name}: feeds back {-flow[step] - allowed[step]:.3f} more than it may in step {step}"


def _ambient_share(feeder: Feeder, inputs: PlanInputs) -> Array:
    if not feeder.limit_by_ambient_c:
        return np.ones(inputs.horizon.n)
    temps, shares = zip(*feeder.limit_by_ambient_c, strict=True)
    return np.asarray(np.interp(inputs.outdoor_temp_c, temps, shares))


def _has_sources(site: Site) -> bool:
    """Without sources of its own a site at its export limit can always take less from its stores."""
    return bool(site.generators or site.renewables)


def _below(feeder: Feeder, feeders: tuple[Feeder, ...]) -> list[str]:
    children = [f for f in feeders if f.parent == feeder.id]
    return [*feeder.assets, *(a for child in children for a in _below(child, feeders))]


def _cuttable(site: Site, below: set[str], plan: Plan) -> Array:
    """Power of the work below that runs although it may be cut for less than the feeder's price."""
    return sum((_cut(c, plan) for c in site.clusters if c.id in below), start=np.zeros(len(plan.duration_h)))


def _cut(cluster: Cluster, plan: Plan) -> Array:
    runs = np.array(plan.power_kw[cluster.id]) - cluster.idle_kw
    if all(_is_cuttable(kind) for kind in cluster.classes.values()):
        return runs
    kept = sum(kind.share for kind in cluster.classes.values() if not _is_cuttable(kind))
    demand = runs + sum(
        (np.array(p.defer_kw) + p.throttle_kw - np.array(p.recover_kw) for p in plan.classes[cluster.id].values()),
        start=np.zeros(len(runs)),
    )
    return np.asarray(np.maximum(runs - kept * demand, 0.0))


def _is_cuttable(kind: WorkloadClass) -> bool:
    steepest = max(((y1 - y0) / (x1 - x0) for (x0, y0), (x1, y1) in pairwise(kind.throughput_by_power)), default=1.0)
    lost = kind.drop_price_per_kwh if kind.drop_price_per_kwh is not None else LOST_MONEY_PER_KWH
    prices = [kind.throttle_price_per_kwh] if kind.throttle_price_per_kwh is not None else []
    prices += [kind.defer_price_per_kwh + lost] if kind.defer_price_per_kwh is not None and kind.deadline_h is not None else []
    tier = TIER_MONEY_PER_KWH if kind.tier_loss is not None else 0.0
    return bool(prices) and steepest * (min(prices) + tier) < FEEDER_MONEY_PER_KWH


def _charge(site: Site, below: set[str], inputs: PlanInputs, plan: Plan) -> Array:
    """What stores below charge without need: batteries always, a UPS once its reserve is whole."""
    free = np.zeros(len(plan.duration_h))
    for battery in site.batteries:
        if battery.id in below:
            free += np.maximum(plan.power_kw[battery.id], 0.0)
    for ups in site.upses:
        if ups.id in below:
            is_whole = np.array(plan.energy_kwh[ups.id][:-1]) >= min(inputs.reserve_kwh.get(ups.id, 0.0), ups.energy_kwh) - TOLERANCE
            free += np.maximum(plan.power_kw[ups.id], 0.0) * is_whole
    return free


def _given(site: Site, below: set[str], plan: Plan) -> Array:
    """What stores, sun and wind below give, and fast machines above their minimum load: all of it could be less."""
    names = [*(b.id for b in site.batteries), *(u.id for u in site.upses), *(r.id for r in site.renewables)]
    rows: list[Array] = [np.array(plan.power_kw[name]) for name in names if name in below]
    fast = [g for g in site.generators if g.id in below and not g.is_emergency and is_fast(g)]
    rows += [np.minimum(np.array(plan.power_kw[g.id]) + g.min_power_kw, 0.0) for g in fast]
    return sum((np.maximum(-row, 0.0) for row in rows), start=np.zeros(len(plan.duration_h)))
