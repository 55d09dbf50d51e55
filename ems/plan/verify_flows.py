"""What every asset of a plan draws and what flows through each feeder, from its numbers alone, in plain arithmetic; shares no code with the
blocks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ems.assets.cooling.model import Cooling
from ems.assets.ups.model import Ups
from ems.plan.inputs import PlanInputs
from ems.plan.plan import Plan
from ems.plan.verify_cooling import cold_power_kw
from ems.site.model import Site

Array = NDArray[np.float64]


def drawn_kw(site: Site, inputs: PlanInputs, plan: Plan) -> dict[str, Array]:
    """Power per asset and step as it draws it: a UPS with its losses, cooling by the IT it cools, fixed loads."""
    power = {k: np.array(v) for k, v in plan.power_kw.items()}
    drawn = power | {f.id: np.full(inputs.horizon.n, f.power_kw) for f in site.fixed_loads}
    for ups in site.upses:
        carried = sum((power[i] for i in ups.carries if i in power), start=np.zeros(inputs.horizon.n))
        drawn[ups.id] = power[ups.id] + (_curved_losses(site, ups, inputs, carried) if ups.loss_curve else ups.loss_fraction * carried)
    fading = _fading_cooling(site, inputs)
    for cooling in site.coolings:
        it = sum((power[i] for i in cooling.cools if i in power), start=np.zeros(inputs.horizon.n))
        drawn[cooling.id] = _steady_cooling(site, cooling, inputs, it) + fading[cooling.id]
        if cooling.is_led and cooling.id in plan.supply_temp_c:
            drawn[cooling.id] = drawn[cooling.id] + cold_power_kw(site, cooling, inputs, plan)
    return drawn


def flows_kw(site: Site, drawn: Mapping[str, Array]) -> dict[str, Array]:
    """Per feeder what flows into it, its own losses included, from the branches up; below 0 where it feeds back."""
    flow: dict[str, Array] = {f.id: np.zeros(next((len(row) for row in drawn.values()), 0)) for f in site.feeders}
    waiting = list(site.feeders)
    while waiting:
        ready = next(f for f in waiting if not any(other.parent == f.id for other in waiting))
        waiting.remove(ready)
        through = sum((drawn[a] for a in ready.assets if a in drawn), start=flow[ready.id])
        flow[ready.id] = (1.0 + ready.loss_fraction) * through
        if ready.parent is not None:
            flow[ready.parent] = flow[ready.parent] + flow[ready.id]
    return flow


def feeder_losses(site: Site, drawn: Mapping[str, Array]) -> Array:
    """What all feeders together lose when each asset draws so much."""
    flow, lost = flows_kw(site, drawn), np.zeros(next((len(row) for row in drawn.values()), 0))
    return sum((f.loss_fraction / (1.0 + f.loss_fraction) * flow[f.id] for f in site.feeders), start=lost)


def _steady_cooling(site: Site, cooling: Cooling, inputs: PlanInputs, it: Array) -> Array:
    """Its share of IT power; of a plant the power at the heat foreseen, moved along its slope there."""
    temps = [float(t) for t in inputs.outdoor_temp_c]
    if cooling.plant is None:
        return np.asarray(np.array([cooling.fraction(t) for t in temps]) * it)
    cooled = [c for c in site.clusters if c.id in cooling.cools]
    foreseen = sum((np.clip(inputs.load_q50_kw[c.id], c.idle_kw, c.rating_kw) for c in cooled), start=np.zeros(inputs.horizon.n))
    steady, slope = zip(*(cooling.steady(float(kw), t) for kw, t in zip(foreseen, temps, strict=True)), strict=True)
    return np.asarray(np.array(steady) + np.maximum(np.array(slope), 0.0) * (it - foreseen))


def _curved_losses(site: Site, ups: Ups, inputs: PlanInputs, carried: Array) -> Array:
    """The loss polynomial without the square of the distance from the load foreseen, which is what a tangent leaves out."""
    behind = [c for c in site.clusters if c.id in ups.carries]
    foreseen = sum((np.clip(inputs.load_q50_kw[c.id], c.idle_kw, c.rating_kw) for c in behind), start=np.zeros(inputs.horizon.n))
    a, b, c2 = ups.loss_curve
    x, x0 = carried / ups.rating_kw, foreseen / ups.rating_kw
    return np.asarray(ups.rating_kw * (a + b * x + c2 * (x * x - (x - x0) ** 2)))


def _fading_cooling(site: Site, inputs: PlanInputs) -> dict[str, Array]:
    """What measured cooling stands above its steady state, fading with its lag; integrated exactly over each step. Per cooling."""
    fading = {c.id: np.zeros(inputs.horizon.n) for c in site.coolings}
    if inputs.cooling_kw is None:
        return fading
    end_h = np.cumsum(inputs.horizon.duration_h)
    for cooling in site.coolings:
        if cooling.lag_s <= 0.0:
            continue
        it_now = inputs.it_now_kw if inputs.it_now_kw is not None else sum(float(v[0]) for v in inputs.load_q50_kw.values())
        loads = {k: float(v[0]) for k, v in inputs.load_q50_kw.items()}
        mine = sum(loads.get(k, 0.0) for k in cooling.cools) / max(sum(loads.values()), 1e-9) if len(site.coolings) > 1 else 1.0
        gap = mine * inputs.cooling_kw - cooling.steady(mine * it_now, float(inputs.outdoor_temp_c[0]))[0]
        remaining = np.exp(-np.r_[0.0, end_h] * 3600 / cooling.lag_s)
        fading[cooling.id] = -gap * np.diff(remaining) * cooling.lag_s / 3600 / np.array(inputs.horizon.duration_h)
    return fading
