"""The bound of a window: one linear program over the true future, from the same world as the policies."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from ems.errors import PlanInfeasible
from ems.plan.bound import BoundInputs, BoundResult, solve_bound
from ems.replay.demand import ClusterDemand
from ems.replay.future import true_prices
from ems.replay.generation import true_resources
from ems.replay.world import World, market_series, obligation, stores
from ems.site.storage_classes import planned_site
from ems.site.tariff import MARKET

LONGEST_STEP_S = 900.0
BUDGET_S = 600.0
EVERY = 100_000  # classes of strings: none merged that differ


def bound_of(world: World, progress: Callable[[float], None]) -> dict[str, Any]:
    """{"policy", "seed", "total", "cost", "solved", "gap", "wall_s"}; not solved for a window that is not made of whole steps."""
    begun = time.perf_counter()
    progress(0.0)
    result: dict[str, Any] = {"policy": "bound", "seed": world.seed, "total": None, "cost": {}, "solved": False, "gap": None, "why": ""}
    try:
        found = solve_window(world)
        result |= {"total": float(found.total), "cost": found.cost, "solved": found.solved, "gap": found.gap, "peak_kw": found.peak_kw}
    except PlanInfeasible as clash:
        result["why"] = str(clash)
    progress(1.0)
    return {**result, "wall_s": round(time.perf_counter() - begun, 3)}


def solve_window(world: World) -> BoundResult:
    """The bound itself. Raises PlanInfeasible when the window is not made of whole steps or the solver finds no optimum."""
    step_s = bound_step_s(world)
    start, end = world.scenario.model.start, world.scenario.start + timedelta(seconds=world.steps * world.scenario.plant_step_s)
    per_step = step_s / world.scenario.plant_step_s
    if start.timestamp() % step_s or end.timestamp() % step_s or abs(per_step - round(per_step)) > 1e-9:
        raise PlanInfeasible(f"the window or its plant steps do not divide into {step_s / 60:.0f} min")
    n = round((end - start).total_seconds() / step_s)
    starts = tuple(start + timedelta(seconds=step_s * i) for i in range(n))
    hours = [step_s / 3600.0] * n
    site = planned_site(world.plant, most=EVERY)  # strings that are alike, as one: nothing is lost, and hundreds are solved
    inputs = BoundInputs(
        starts=starts,
        class_demand_kw={name: _class_means(d, n, round(per_step), world.steps) for name, d in world.demand.items()},
        price_per_kwh=true_prices(world).means(starts, hours),
        outdoor_temp_c=world.temp_c.reshape(n, -1).mean(axis=1),
        energy_kwh={s.id: s.initial_soc * s.energy_kwh for s in stores(site)},
        peak_so_far_kw=world.scenario.model.peak_so_far_kw,
        import_limit_kw=_limits(world, starts, step_s),
        available_kw={name: series.means(starts, hours) for name, series in true_resources(world).items()},
        ordered=_ordered(world, starts, step_s),
        step_h=step_s / 3600.0,
    )
    return solve_bound(site, inputs, BUDGET_S)


def bound_step_s(world: World) -> float:
    """A quarter hour, or the market's own step where the tariff follows a finer one: means over more than one price are no bound."""
    tariff = world.site.tariff
    series, _ = market_series(tariff, world.signals)
    if series is None or not (tariff.is_market or tariff.export_energy in MARKET):
        return LONGEST_STEP_S
    market_s = float(np.median(series.end_s - series.begin_s))
    return market_s if market_s < LONGEST_STEP_S and LONGEST_STEP_S % market_s == 0.0 else LONGEST_STEP_S


def _class_means(demand: ClusterDemand, n: int, per_step: int, steps: int) -> dict[str, np.ndarray]:
    """Means of the steps above idle, scaled down where a cluster asks for more than its rating, as the cluster does itself."""
    inside = slice(demand.starts_at, demand.starts_at + steps)
    room = demand.cluster.rating_kw - demand.cluster.idle_kw
    asked = np.sum(list(demand.class_kw.values()), axis=0)[inside]
    share = np.minimum(1.0, room / np.maximum(asked, 1e-9))
    return {name: (kw[inside] * share).reshape(n, per_step).mean(axis=1) for name, kw in demand.class_kw.items()}


def _limits(world: World, starts: Sequence[datetime], step_s: float) -> np.ndarray:
    """The connection limit, or what events leave of it over a whole step (a fraction of a baseline is not known here: no event)."""
    limit = world.site.point_of_connection.import_limit_kw
    limits = np.full(len(starts), limit)
    for number, entry in enumerate(world.scenario.model.events):
        if entry.kw is None or entry.kind == "reduce_by":
            continue
        event = obligation(entry, number, limit, limit)
        for i, at in enumerate(starts):
            if event.start <= at and at + timedelta(seconds=step_s) <= event.end:
                limits[i] = min(limits[i], event.import_limit_kw())
    return limits


def _ordered(world: World, starts: Sequence[datetime], step_s: float) -> frozenset[int]:
    """Steps in which an order stands that some emergency machine is named for."""
    named = {program for g in world.site.generators for program in g.ordered_by}
    events = [e for e in world.scenario.model.events if e.program in named]
    return frozenset(i for i, at in enumerate(starts) if any(e.start < at + timedelta(seconds=step_s) and at < e.end for e in events))
