"""Picks a point inside the guard's intervals, follows the advice's energy, corrects the residual at the meter, and says why.

Order of answers when the billing mean or the import limit would be crossed: stop recovering, stop charging, discharge, defer batch,
defer training. Interactive work is only ever cut by the standing caps (the import limit itself) or by the plan. A class
whose tier is used up (no more of its work may be missing) comes last, here and below a standing cap.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ems.assets.workload.model import DEFERRABLE, Cluster
from ems.dispatch.advice import Advice, Wish
from ems.dispatch.generation import generation_setpoints, lean_on, wanted_generation
from ems.dispatch.setpoint import Setpoint
from ems.dispatch.strings import NO_CLASSES, Classes, balance_strings
from ems.dispatch.supply import supply_setpoints
from ems.dispatch.together import left_to_give, most_more_kw, no_export, take_from, within_feeders
from ems.dispatch.trend import ClusterTrend
from ems.guard.guard import Verdict, share_caps
from ems.site.model import Site
from ems.state.estimate import SiteState

NO_BOUND: Mapping[str, float] = {}
Spent = frozenset[tuple[str, str]]  # cluster and class of work whose tier is used up
NOTHING_SPENT: Spent = frozenset()


@dataclass(frozen=True)
class Need:
    """What the clusters would draw in kW of IT power under the limits advised: in the next seconds, and as a mean of minutes."""

    held_kw: dict[str, float]
    mean_kw: float
    fresh_kw: dict[str, float]  # in the next seconds, recovery of backlog left out
    cheap_kw: float  # part of the held power that is cheaper to defer than to serve from storage


def arbitrate(
    site: Site,
    state: SiteState,
    verdict: Verdict,
    advice: Advice,
    trends: Mapping[str, ClusterTrend],
    allowed_kw: float | None,
    classes: Classes = NO_CLASSES,
    spent: Spent = NOTHING_SPENT,
    patience_kw: float = 0.0,
) -> list[Setpoint]:
    """The setpoints of this cycle for every storage and cluster. `allowed_kw` is the import that may still flow in the running billing
    interval if its mean is to stay at the advice's goal; None when there is no goal. `classes` are strings that share one power. `spent`:
    cluster and class of the work whose tier is used up. `patience_kw`: how much more may flow before work is cut for it."""
    spread = balance_strings(classes, state, verdict.storage, advice.storage)
    generation = wanted_generation(site, state, verdict, advice.generation)
    given, verdict = verdict, lean_on(state, verdict, generation)
    wishes = {k: replace(w, kw=verdict.storage[k].clamp(w.kw)) for k, w in spread.items()}
    limits = {c.id: dict(advice.limits.get(c.id, {})) for c in site.clusters}
    if allowed_kw is not None:
        wishes, limits = _hold_interval(site, state, verdict, advice, trends, allowed_kw, wishes, limits, spent, patience_kw)
    work_kw = None if allowed_kw is None else allowed_kw + patience_kw
    need = _need(site, state, trends, limits)
    wishes = _yield_charging(verdict, need, wishes)
    if advice.spend_storage_at_limit:
        wishes = _serve_at_limit(verdict, need, wishes)
    wishes = _take_up_export(site, state, verdict, _stay_under_load(site, state, verdict, limits, wishes))
    wishes = within_feeders(site, verdict, _worked_kw(verdict, need), wishes, is_told=False)
    wanted_kw = {k: w.kw for k, w in wishes.items()}
    storage = no_export(site, verdict, verdict.deepest_storage_kw, _let_go_slowly(verdict, wishes))
    storage = within_feeders(site, verdict, verdict.ceilings_kw, storage, is_told=True)
    storage = balance_strings(classes, state, verdict.storage, storage)
    caps = _caps(site, verdict, need, wanted_kw, storage, not advice.only_shaves)
    return [
        *_cap_setpoints(site, state, verdict, caps),
        *_limit_setpoints(site, state, _spare_spent(site, state, caps, limits, spent)),
        *_storage_setpoints(state, storage),
        *generation_setpoints(site, state, given, generation),
        *supply_setpoints(site, state, given, advice, _is_tight(state, verdict, need, wishes, work_kw)),
    ]


def _is_tight(state: SiteState, verdict: Verdict, need: Need, wishes: dict[str, Wish], allowed_kw: float | None) -> bool:
    """True when the standing caps would cut work, or the import is above what its billing mean may still be."""
    return _short_it_kw(verdict, need, wishes) > 0.0 or (allowed_kw is not None and state.poc_kw > allowed_kw)


def _hold_interval(
    site: Site,
    state: SiteState,
    verdict: Verdict,
    advice: Advice,
    trends: Mapping[str, ClusterTrend],
    allowed_kw: float,
    wishes: dict[str, Wish],
    limits: dict[str, dict[str, Wish]],
    spent: Spent,
    patience_kw: float,
) -> tuple[dict[str, Wish], dict[str, dict[str, Wish]]]:
    """Answers an interval that would end above its goal, with the cheapest means first; relieves discharge that is not needed."""
    need = _need(site, state, trends, limits)
    per_it = (1.0 + verdict.room.loss_fraction) * (1.0 + site.worst_loss)  # cooling, counted as it is now, follows in the next cycles
    load_kw = need.mean_kw * (1.0 + verdict.room.loss_fraction) - verdict.unfed_kw
    load_kw += state.cooling_kw + state.fixed_kw - state.generation_kw
    over_kw = (load_kw + sum(w.kw for w in wishes.values())) * (1.0 + site.worst_loss) - allowed_kw
    why = f"hold the billing mean at {advice.goal_kw:.0f} kW"
    if advice.work_goal_kw is not None and advice.work_goal_kw > (advice.goal_kw or 0.0) + 1.0:
        why += f" (the rise to {advice.work_goal_kw:.0f} kW has not lasted yet)"
    if over_kw < 0.0:
        return (_relieve(wishes, -over_kw, why) if advice.relieve else wishes), limits
    limits, over_kw = _cut(site, state, trends, limits, over_kw, per_it, why, spent, recovery_only=True)
    if advice.only_shaves:  # what the standing caps cut anyway need not be shaved
        over_kw = min(over_kw, verdict.room.target_kw + sum(w.kw for w in wishes.values()) - allowed_kw)
    free = {k: w for k, w in wishes.items() if not w.is_ordered}
    freed, over_kw = _discharge(verdict, free, over_kw, why, advice.deepest_kw)
    wishes = {**wishes, **freed}
    if advice.only_shaves:
        return wishes, limits
    limits, _ = _cut(site, state, trends, limits, over_kw - patience_kw, per_it, why, spent, recovery_only=False)
    return wishes, limits


def _relieve(wishes: dict[str, Wish], spare_kw: float, why: str) -> dict[str, Wish]:
    out = dict(wishes)
    for store, wish in wishes.items():
        if wish.kw < 0.0 and spare_kw > 0.0 and not wish.is_ordered:
            kw = min(0.0, wish.kw + spare_kw)
            spare_kw -= kw - wish.kw
            out[store] = Wish(kw, f"{wish.reason}; less is enough to {why}")
    return out


def _discharge(
    verdict: Verdict, wishes: dict[str, Wish], over_kw: float, why: str, deepest_kw: Mapping[str, float] = NO_BOUND
) -> tuple[dict[str, Wish], float]:
    """Stores give `over_kw` more, or as much as they may. First nobody charges any more: else one store would fill another."""
    out, left = dict(wishes), left_to_give(verdict, wishes)
    for rest_kw, word in ((0.0, "less"), (-math.inf, "more")):
        for store, wish in out.items():
            least_kw = max(verdict.storage[store].low_kw, deepest_kw.get(store, -math.inf), min(0.0, wish.kw) - most_more_kw(left, store))
            kw = max(rest_kw, least_kw, wish.kw - max(0.0, over_kw))
            if kw < wish.kw:
                over_kw -= wish.kw - kw
                take_from(left, store, min(0.0, wish.kw) - min(0.0, kw))
                out[store] = Wish(kw, f"{wish.reason}; {word} to {why}")
    return out, over_kw


def _cut(
    site: Site,
    state: SiteState,
    trends: Mapping[str, ClusterTrend],
    limits: dict[str, dict[str, Wish]],
    over_kw: float,
    per_it: float,
    why: str,
    spent: Spent,
    recovery_only: bool,
) -> tuple[dict[str, dict[str, Wish]], float]:
    """Lowers class limits, batch in all clusters before training and what has used up its tier last, until `over_kw` is answered. What one
    class leaves no other may recover in: then only what a cluster draws less in all would count."""
    out = {c: dict(v) for c, v in limits.items()}
    in_turn = [(cluster, name) for name in DEFERRABLE for cluster in site.clusters]
    for cluster, name in sorted(in_turn, key=lambda turn: (turn[0].id, turn[1]) in spent):
        if over_kw <= 0.0 or name not in cluster.classes:
            continue
        own, mean_kw = out[cluster.id], trends[cluster.id].mean_kw
        draws = _draws_kw(cluster, state, mean_kw, own)
        floor_kw = min(draws[name], mean_kw[name]) if recovery_only else 0.0
        kw = max(floor_kw, draws[name] - over_kw / per_it)
        if kw < draws[name]:
            if not recovery_only:
                own |= _at_most_now(cluster, name, state, draws, own, why)
            own[name] = Wish(kw, f"{'no recovery' if recovery_only else 'deferred'}: {why}")
            over_kw -= (_drawn_kw(cluster, draws) - _drawn_kw(cluster, _draws_kw(cluster, state, mean_kw, own))) * per_it
    return out, over_kw


def _at_most_now(
    cluster: Cluster, cut: str, state: SiteState, draws: Mapping[str, float], own: Mapping[str, Wish], why: str
) -> dict[str, Wish]:
    """Limits that keep the other classes with a backlog from recovering in the room of the one that is cut."""
    waiting = [k for k in draws if k in DEFERRABLE and k != cut and state.clusters[cluster.id].classes[k].backlog_kwh > 0.5]
    return {k: Wish(draws[k], f"no more recovery: {why}") for k in waiting if k not in own or own[k].kw > draws[k]}


def _drawn_kw(cluster: Cluster, draws: Mapping[str, float]) -> float:
    return min(cluster.rating_kw, cluster.idle_kw + sum(draws.values()))


def _spare_spent(
    site: Site, state: SiteState, caps: Mapping[str, float], limits: dict[str, dict[str, Wish]], spent: Spent
) -> dict[str, dict[str, Wish]]:
    """A cluster clips at its cap batch first. Where batch has used up its tier and training has not, a limit on training leaves batch its
    room; the cluster draws its cap as before."""
    out = {c: dict(v) for c, v in limits.items()}
    first, then = DEFERRABLE
    for cluster in site.clusters:
        if (cluster.id, first) not in spent or (cluster.id, then) in spent:
            continue
        own, asked = out[cluster.id], state.clusters[cluster.id].classes
        draws = {k: min(c.demand_kw, own[k].kw) if k in own else c.demand_kw for k, c in asked.items()}
        left_kw = max(0.0, caps[cluster.id] - cluster.idle_kw - sum(draws.values()) + draws[then])
        if left_kw < draws[then]:
            own[then] = Wish(left_kw, f"cut in place of {first}, whose tier is used up")
    return out


def _draws_kw(cluster: Cluster, state: SiteState, demand_kw: Mapping[str, float], limits: Mapping[str, Wish]) -> dict[str, float]:
    """What each class would draw: its demand and, while it has a backlog, as much recovery as its limit and the cluster's rating leave
    (batch before training, as the clusters do)."""
    draws = {k: min(demand_kw[k], limits[k].kw) if k in limits else demand_kw[k] for k in cluster.classes}
    spare_kw = max(0.0, cluster.rating_kw - cluster.idle_kw - sum(draws.values()))
    for name in DEFERRABLE:
        if name in draws and state.clusters[cluster.id].classes[name].backlog_kwh > 0.5:
            more_kw = min(spare_kw, limits[name].kw - draws[name]) if name in limits else spare_kw
            draws[name] += more_kw
            spare_kw -= more_kw
    return draws


def _need(site: Site, state: SiteState, trends: Mapping[str, ClusterTrend], limits: Mapping[str, Mapping[str, Wish]]) -> Need:
    held, fresh_kw, mean, cheap = {}, {}, 0.0, 0.0
    for cluster in site.clusters:
        trend, own = trends[cluster.id], limits[cluster.id]
        fresh = state.clusters[cluster.id].is_fresh
        peak = cluster.idle_kw + sum(_draws_kw(cluster, state, trend.class_held_kw, own).values())
        foreseen_kw = max(0.0, trend.held_kw - cluster.idle_kw - sum(trend.class_held_kw.values()))  # above what was measured
        held[cluster.id] = min(cluster.rating_kw, peak + foreseen_kw) if fresh else cluster.rating_kw
        mean += min(cluster.rating_kw, cluster.idle_kw + sum(_draws_kw(cluster, state, trend.mean_kw, own).values()))
        asked = cluster.idle_kw + sum(min(own[k].kw, v) if k in own else v for k, v in trend.class_held_kw.items())
        fresh_kw[cluster.id] = min(cluster.rating_kw, asked) if fresh else cluster.rating_kw
        cheap += sum(min(own[k].kw, v) if k in own else v for k, v in trend.class_held_kw.items() if k == DEFERRABLE[0])
    return Need(held, mean, fresh_kw, cheap)


def _short_it_kw(verdict: Verdict, need: Need, wishes: dict[str, Wish]) -> float:
    """IT power, recovery of backlog aside, that the standing caps would cut with these storage powers."""
    return sum(need.fresh_kw.values()) - verdict.room.it_kw(sum(w.kw for w in wishes.values()))


def _yield_charging(verdict: Verdict, need: Need, wishes: dict[str, Wish]) -> dict[str, Wish]:
    """Charging, whoever asked for it, gives way before any work is cut at the import limit."""
    short_kw = _short_it_kw(verdict, need, wishes) * (
        1.0 + verdict.room.loss_fraction + verdict.room.growth * verdict.room.cooling_fraction
    )
    out = dict(wishes)
    for store, wish in wishes.items():
        if short_kw > 0.0 and wish.kw > 0.0:
            kw = max(0.0, verdict.storage[store].low_kw, wish.kw - short_kw)
            short_kw -= wish.kw - kw
            out[store] = Wish(kw, f"{wish.reason}; charging gives way to work at the import limit")
    return out


def _serve_at_limit(verdict: Verdict, need: Need, wishes: dict[str, Wish]) -> dict[str, Wish]:
    """Discharges for work that the standing caps would cut, except what is cheaper to defer than to serve from storage."""
    short_kw = (_short_it_kw(verdict, need, wishes) - need.cheap_kw) * (1.0 + verdict.room.loss_fraction)
    helps_kw = sum(w.kw for w in wishes.values()) - verdict.room.storage_kw(verdict.room.safe_it_kw())  # beyond it caps no longer widen
    return _discharge(verdict, wishes, min(short_kw, helps_kw), "serve work at the import limit")[0]


def _stay_under_load(
    site: Site, state: SiteState, verdict: Verdict, limits: Mapping[str, Mapping[str, Wish]], wishes: dict[str, Wish]
) -> dict[str, Wish]:
    """Discharge may not exceed the load that is left once this cycle's own class limits have cut it."""
    it_kw = 0.0
    for cluster in site.clusters:
        own = limits[cluster.id]
        it_kw += cluster.idle_kw + sum(
            min(own[k].kw, c.demand_kw) if k in own else c.demand_kw for k, c in state.clusters[cluster.id].classes.items()
        )
    return no_export(site, verdict, verdict.lowest_storage_kw(it_kw), wishes)


def _worked_kw(verdict: Verdict, need: Need) -> dict[str, float]:
    """What every cluster would draw with its work, recovery of backlog aside: charging on its feeder gives way to that."""
    return {k: min(max(kw, verdict.caps[k].low_kw), verdict.caps[k].high_kw) for k, kw in need.fresh_kw.items()}


def _take_up_export(site: Site, state: SiteState, verdict: Verdict, wishes: dict[str, Wish]) -> dict[str, Wish]:
    """Where generation that cannot fall as fast as the load would be exported above the limit, stores take it: first nobody discharges any
    more, then batteries charge, then UPSes. Ordered powers too: a limit stands above an order."""
    least_import_kw = -verdict.export_limit_kw * (1.0 - site.control.import_margin)
    over_kw = least_import_kw - state.load_kw - sum(w.kw for w in wishes.values())
    why = f"hold the export limit of {verdict.export_limit_kw:.0f} kW"
    out = dict(wishes)
    for most_kw, word in ((0.0, "less discharge"), (math.inf, "more charging")):
        for store, wish in sorted(out.items(), key=lambda item: item[0] in state.upses):
            kw = min(most_kw, verdict.storage[store].high_kw, wish.kw + max(0.0, over_kw))
            if kw > wish.kw:
                over_kw -= kw - wish.kw
                out[store] = replace(wish, kw=kw, reason=f"{wish.reason}; {word} to {why}")
    return out


def _let_go_slowly(verdict: Verdict, wishes: dict[str, Wish]) -> dict[str, Wish]:
    """Storage takes no more than the caps in force leave: caps narrow first, are read back, then storage lets go."""
    over_kw = sum(w.kw for w in wishes.values()) - verdict.storage_high_kw
    if over_kw <= 0.0:
        return wishes
    return _discharge(verdict, wishes, over_kw, f"keep {verdict.storage_high_rule}")[0]


def _caps(
    site: Site,
    verdict: Verdict,
    need: Need,
    wanted_kw: Mapping[str, float],
    storage: Mapping[str, Wish],
    widen: bool,
) -> dict[str, float]:
    """Caps that hold with the storage power already measured, still on its way, or about to be sent, whichever imports more; without any
    discharge unless it may widen them."""
    most_kw = {k: max(kw, wanted_kw[k], storage[k].kw) for k, kw in verdict.storage_now_kw.items()}
    counted_kw = sum(most_kw.values())
    if not widen:
        counted_kw = max(0.0, counted_kw)
    return share_caps(site, verdict, verdict.room.it_kw(counted_kw), need.fresh_kw, need.held_kw, most_kw)


def _cap_setpoints(site: Site, state: SiteState, verdict: Verdict, caps: Mapping[str, float]) -> list[Setpoint]:
    out = []
    for cluster in site.clusters:
        cap_kw = float(max(math.floor(caps[cluster.id]), math.ceil(cluster.idle_kw)))
        free = caps[cluster.id] >= verdict.caps[cluster.id].high_kw - 1.0
        reason = (
            verdict.caps[cluster.id].high_rule if free else f"standing cap under the {verdict.limit_source} of {verdict.limit_kw:.0f} kW"
        )
        out.append(Setpoint(cluster.id, "power_cap_kw", cap_kw, reason, state.now))
    return out


def _limit_setpoints(site: Site, state: SiteState, limits: Mapping[str, Mapping[str, Wish]]) -> list[Setpoint]:
    out = []
    for cluster in site.clusters:
        for name in cluster.classes:
            wish = limits[cluster.id].get(name, Wish(cluster.rating_kw, "free below the cap"))
            kw = float(round(min(max(0.0, wish.kw), cluster.rating_kw)))
            out.append(Setpoint(cluster.id, f"{name}_limit_kw", kw, wish.reason, state.now))
    return out


def _storage_setpoints(state: SiteState, storage: Mapping[str, Wish]) -> list[Setpoint]:
    commands = {**{b: "power_setpoint_kw" for b in state.batteries}, **{u: "battery_setpoint_kw" for u in state.upses}}
    return [Setpoint(k, commands[k], float(math.trunc(w.kw)), w.reason, state.now) for k, w in storage.items()]
