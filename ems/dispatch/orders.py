"""What standing orders do to the advice: a hold or an override replaces the wish, a stop brings an asset to its safe value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ems.assets.cooling.model import Cooling
from ems.assets.workload.model import CLASSES, Cluster
from ems.dispatch.advice import Advice, SupplyWish, Wish
from ems.dispatch.setpoint import Setpoint
from ems.messages import Order, OrderKind
from ems.site.model import Site
from ems.state.estimate import SiteState


def apply_orders(site: Site, state: SiteState, advice: Advice, standing: Mapping[str, Order]) -> Advice:
    """The advice with what persons ordered in place of the wishes. The guard's intervals still hold."""
    storage = dict(advice.storage)
    limits = {c: dict(v) for c, v in advice.limits.items()}
    generation, supply = dict(advice.generation), dict(advice.supply)
    for asset, order in standing.items():
        if asset in state.coolings:
            supply |= _held_supply(site, state, asset, order)
            continue
        kw = _ordered_kw(site, state, asset, order)
        reason = f"{order.kind.value} by {order.by}: {order.why}"
        if asset in storage:
            storage[asset] = Wish(kw, reason, is_ordered=True)
        elif asset in state.generators or asset in state.renewables:
            generation[asset] = Wish(-abs(kw), reason, is_ordered=True)
        elif order.kind is not OrderKind.STOP:
            limits[asset] = _spread(site.assets[asset], kw, reason)
    return replace(advice, storage=storage, limits=limits, generation=generation, supply=supply)


def _held_supply(site: Site, state: SiteState, asset: str, order: Order) -> dict[str, SupplyWish]:
    """A held plant keeps the supply it has, a stopped one goes back to the commissioned one."""
    cooling, seen = site.assets[asset], state.coolings[asset]
    assert isinstance(cooling, Cooling) and cooling.plant is not None
    home_c = cooling.plant.supply_temp_c
    is_held = order.kind is OrderKind.HOLD and seen.supply_temp_c is not None
    temp_c = min(seen.supply_temp_c or home_c, home_c) if is_held else home_c
    return {asset: SupplyWish(temp_c, f"{order.kind.value} by {order.by}: {order.why}")}


def _ordered_kw(site: Site, state: SiteState, asset: str, order: Order) -> float:
    if order.kind is OrderKind.STOP:
        return 0.0
    if order.kind is OrderKind.OVERRIDE and order.kw is not None:
        return order.kw
    if asset in state.batteries:
        return state.batteries[asset].power_kw
    if asset in state.upses:
        return state.upses[asset].battery_kw
    if asset in state.generators:
        return state.generators[asset].power_kw
    if asset in state.renewables:
        return state.renewables[asset].power_kw
    return state.clusters[asset].power_kw


def _spread(cluster: object, kw: float, reason: str) -> dict[str, Wish]:
    """A cluster's power as class ceilings, interactive served first (the share of a class is its share of the power above idle)."""
    assert isinstance(cluster, Cluster)
    dynamic_kw = max(0.0, kw - cluster.idle_kw)
    return {name: Wish(dynamic_kw * c.share, reason) for name, c in cluster.classes.items()}


def stopped_setpoints(site: Site, state: SiteState, assets: Sequence[str], cause: str) -> list[Setpoint]:
    """Safe values: caps at the contract (first, and read back before storage follows), storage to zero by its own ramp."""
    out = []
    for cluster in site.clusters:
        if cluster.id in assets:
            out.append(Setpoint(cluster.id, "power_cap_kw", cluster.contract_cap_kw, f"contract cap: {cause}", state.now))
            out += [Setpoint(cluster.id, f"{k}_limit_kw", cluster.rating_kw, f"free: {cause}", state.now) for k in CLASSES]
    capped = all(_is_capped(site, state, c.id) for c in site.clusters if c.id in assets)
    for battery in site.batteries:
        if battery.id in assets:
            kw = 0.0 if capped else min(0.0, state.batteries[battery.id].power_kw)
            out.append(Setpoint(battery.id, "power_setpoint_kw", kw, f"to zero once the caps hold: {cause}", state.now))
    for ups in site.upses:
        if ups.id in assets:
            kw = 0.0 if capped else min(0.0, state.upses[ups.id].battery_kw)
            out.append(Setpoint(ups.id, "battery_setpoint_kw", kw, f"to zero once the caps hold: {cause}", state.now))
    for cooling in site.coolings:
        if cooling.id in assets and cooling.plant is not None:
            out.append(Setpoint(cooling.id, "supply_setpoint_c", cooling.plant.supply_temp_c, f"as commissioned: {cause}", state.now))
    return [*out, *_stopped_generation(site, state, assets, cause)]


def _stopped_generation(site: Site, state: SiteState, assets: Sequence[str], cause: str) -> list[Setpoint]:
    """A permitted machine is no longer requested; what runs for other reasons is left to its own control, never stopped. Sun and wind
    fall back to their rating."""
    out = []
    for generator in site.generators:
        measured = state.generators[generator.id]
        if generator.id in assets and not generator.is_baseload and measured.is_fresh and not (measured.carries_load or measured.is_local):
            out.append(Setpoint(generator.id, "run_request", 0.0, f"no request: {cause}", state.now))
    for renewable in site.renewables:
        if renewable.id in assets:
            out.append(Setpoint(renewable.id, "generation_limit_kw", renewable.power_kw, f"free: {cause}", state.now))
    return out


def _is_capped(site: Site, state: SiteState, cluster_id: str) -> bool:
    """A silent cluster cannot confirm; waiting for it would keep storage discharging for nothing, so it counts as lapsed."""
    cluster = site.assets[cluster_id]
    assert isinstance(cluster, Cluster)
    cap = state.clusters[cluster_id].cap_kw
    return cap is None or cap <= cluster.contract_cap_kw + 1.0
