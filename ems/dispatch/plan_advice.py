"""The plan as advice for one cycle: storage targets, class limits, the billing mean it defends."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta

from ems.assets.cooling.plant import CATCH_UP_S
from ems.assets.generator.model import Generator
from ems.assets.workload.model import DEFERRABLE, Cluster
from ems.dispatch.advice import Advice, SupplyWish, Wish
from ems.dispatch.strings import NO_CLASSES, Classes, spread_class
from ems.dispatch.trend import ClusterTrend
from ems.plan.plan import Plan
from ems.site.model import Site
from ems.state.estimate import SiteState

NEGLIGIBLE_KW = 0.5
GROWTH = 0.25  # of what training asks for: it swings by a fifth between its steps, longer than a peak hold; a limit on backlog is no cut
SWING_SHARE = 0.1  # of the clusters' rating, by which their load may change from one cycle to the next


def advise_from_plan(
    site: Site,
    plan: Plan,
    level: str,
    state: SiteState,
    trends: Mapping[str, ClusterTrend],
    believed_kw: float,
    month_peak_kw: float,
    classes: Classes = NO_CLASSES,
) -> Advice:
    """What the plan wishes at `state.now`; the plan must hold that instant. `believed_kw`: the billing peak believed of the
    plan's (rising_peak.py); `month_peak_kw`: the month's so far. Strings planned as `classes` get their share of the class."""
    k = plan.horizon.index_at(state.now)
    if k is None:
        raise ValueError("the plan does not hold this instant")
    driver = plan.binding[k] or "energy price"
    worth = plan.marginal_price_per_kwh[k]
    why = f"{level} plan {plan.made_at:%H:%M} step {plan.starts[k]:%H:%M} ({driver}, 1 kWh worth {worth:.3f})"
    storage = {store: Wish(powers[k], why) for store, powers in plan.power_kw.items() if store in _stores(site)}
    for name, strings in classes.items():
        storage |= spread_class(strings, plan.power_kw[name][k], why)
    aim = 1.0 - site.control.import_margin  # else each small overshoot raises the next goal
    late_kw = _late_kw(site)
    unpriced_kw = 0.0 if site.tariff.demand_price_per_kw_month > 0.0 else math.inf  # then only a window in force has a goal
    goal_kw = _lower(max(believed_kw, month_peak_kw, unpriced_kw), plan.window_goal_kw, k) * aim - late_kw
    work_goal_kw = _lower(max(plan.peak_kw, month_peak_kw, unpriced_kw), plan.window_goal_kw, k) * aim - late_kw
    has_goal = math.isfinite(goal_kw)
    is_defended = "demand" in plan.binding[k] or work_goal_kw > goal_kw + NEGLIGIBLE_KW
    limits = {c.id: _class_limits(c, plan, k, state, trends[c.id], is_defended, why) for c in site.clusters if c.id in plan.classes}
    free_kw = plan.peak_kw if plan.free_peak_kw is None else plan.free_peak_kw
    return Advice(
        name=level,
        storage=storage,
        limits=limits,
        generation={name: Wish(kw, why) for name, kw in _generation_kw(site, plan, k).items()},
        supply={name: SupplyWish(_supply_c(course, plan, state.now), why) for name, course in plan.supply_temp_c.items()},
        goal_kw=goal_kw if has_goal else None,
        work_goal_kw=work_goal_kw if has_goal else None,
        free_goal_kw=_lower(max(free_kw, month_peak_kw, unpriced_kw), plan.window_free_kw, k) * aim - late_kw,
        planned_kw=_planned_rest_kw(plan, state.now, site.tariff.demand_interval_min * 60),
        relieve="demand" in plan.binding[k],
        spend_storage_at_limit=True,
    )


def _late_kw(site: Site) -> float:
    """What the last cycle of a billing interval, which no later one makes good, may add to its mean: nothing to speak of with a cycle of
    seconds, several kW with one of a minute."""
    interval_s = 60.0 * site.tariff.demand_interval_min
    return SWING_SHARE * sum(c.rating_kw for c in site.clusters) * min(1.0, site.control.cycle_s / interval_s)


def _lower(kw: float, window_kw: tuple[float | None, ...], k: int) -> float:
    """The month's goal, or that of a demand window in force in step k where it is lower."""
    here = window_kw[k] if k < len(window_kw) else None
    return kw if here is None else min(kw, here)


def _supply_c(course: tuple[float, ...], plan: Plan, now: datetime) -> float:
    """The planned supply as far ahead as the plant's own control lags behind, on the line between two boundaries."""
    at = now + timedelta(seconds=CATCH_UP_S)
    k = plan.horizon.index_at(at)
    if k is None:
        return course[-1]
    share = (at - plan.starts[k]).total_seconds() / (3600.0 * plan.duration_h[k])
    return course[k] + min(max(share, 0.0), 1.0) * (course[k + 1] - course[k])


def _generation_kw(site: Site, plan: Plan, k: int) -> dict[str, float]:
    """What each machine should give in step k, generating negative: one that starts is asked for what it is to give once started. A
    renewable is bounded only where the plan curtails it."""
    out = {}
    for generator in site.generators:
        if generator.id not in plan.power_kw or generator.is_emergency:
            continue
        is_on = plan.on.get(generator.id)
        powers = plan.power_kw[generator.id]
        out[generator.id] = powers[k] if is_on is None else _started_kw(generator, powers[k : k + 2], is_on[k : k + 2])
    for renewable in site.renewables:
        curtailed = plan.curtailed_kw.get(renewable.id)
        if curtailed is not None and curtailed[k] > NEGLIGIBLE_KW:
            out[renewable.id] = plan.power_kw[renewable.id][k]
    return out


def _started_kw(generator: Generator, powers: tuple[float, ...], is_on: tuple[float, ...]) -> float:
    if is_on[0] < 0.5:
        return 0.0
    return -max(generator.min_power_kw, *(-kw for kw, on in zip(powers, is_on, strict=True) if on >= 0.5))


def _planned_rest_kw(plan: Plan, now: datetime, interval_s: int) -> float:
    """The mean import planned from `now` to the end of the billing interval."""
    end = now + timedelta(seconds=interval_s - now.timestamp() % interval_s)
    energy, seconds = 0.0, 0.0
    for start, hours, kw in zip(plan.starts, plan.duration_h, plan.import_kw, strict=True):
        if start >= end:
            break
        overlap_s = (min(end, start + timedelta(hours=hours)) - max(now, start)).total_seconds()
        if overlap_s > 0.0:
            energy, seconds = energy + kw * overlap_s, seconds + overlap_s
    return energy / seconds if seconds > 0.0 else 0.0


def _stores(site: Site) -> set[str]:
    return {b.id for b in site.batteries} | {u.id for u in site.upses}


def _class_limits(
    cluster: Cluster, plan: Plan, k: int, state: SiteState, trend: ClusterTrend, is_defended: bool, why: str
) -> dict[str, Wish]:
    limits = {}
    for name, planned in plan.classes[cluster.id].items():
        cut_kw, recover_kw = planned.defer_kw[k] + planned.throttle_kw[k], planned.recover_kw[k]
        if cut_kw > NEGLIGIBLE_KW:
            asked_kw = _asked_kw(cluster, name, plan, k, state)
            limits[name] = Wish(max(0.0, asked_kw - cut_kw) + recover_kw, f"cut by {why}")
        elif name in DEFERRABLE and state.clusters[cluster.id].classes[name].backlog_kwh > NEGLIGIBLE_KW:
            rise_kw = trend.class_held_kw[name] * _growth(cluster, name, plan.marginal_price_per_kwh[k], is_defended)
            limits[name] = Wish(trend.class_held_kw[name] + rise_kw + recover_kw, f"recovery by {why}")
    return limits


def _asked_kw(cluster: Cluster, name: str, plan: Plan, k: int, state: SiteState) -> float:
    """What a planned cut is taken from: the foreseen median, so that a load above it is cut too; under a throughput curve what is asked
    for now where that is more, since there each kW cut beyond the planned ones loses more than they do."""
    work = cluster.classes[name]
    foreseen_kw = work.share * max(0.0, plan.load_q50_kw[cluster.id][k] - cluster.idle_kw)
    return max(foreseen_kw, state.clusters[cluster.id].classes[name].demand_kw) if work.throughput_by_power else foreseen_kw


def _growth(cluster: Cluster, name: str, worth: float, is_defended: bool) -> float:
    """The share by which a class may rise above what it asked for: backlog may use it beside the plan, so only of the dearer class, and
    only while a kWh is worth less than putting it off costs and no peak is defended."""
    put_off = cluster.classes[name].defer_price_per_kwh or 0.0
    return GROWTH if worth < put_off and not is_defended and name != DEFERRABLE[0] else 0.0
