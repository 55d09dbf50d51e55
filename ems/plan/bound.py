"""The least a window could have cost with the true future known: one linear program over 15-min means or the market's finer ones.

Same ratings, losses, reserve, prices, classes, deadlines and stored-energy credit as the simulated plant, without noise, delay or ramps.
Every rule is the plant's or weaker, so that no policy can be cheaper:
- powers are means of a step, limits hold for the mean, a step's time may be shared between charging and discharging;
- work deferred within a step is due at the end of the step in which its deadline ends at the latest;
- the reserve stands at its floor;
- feeders lose nothing;
- cooling keeps its lag, as states at the boundaries: mean power = fraction x IT - lag x change of state, which is exact, while the state
  at the end of a step may be anything that some course of IT power with the step's mean and within the ratings could reach.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from ems.assets.battery.model import Battery
from ems.assets.cooling.model import Cooling
from ems.assets.ups.model import Ups
from ems.assets.workload.curve import cut_pieces
from ems.assets.workload.model import Cluster, WorkloadClass
from ems.plan.bound_generation import GenerationColumns, add_generation
from ems.plan.bound_tariff import ChargeColumns, add_charges, export_price, least_energy_price
from ems.plan.inputs import stores_of
from ems.plan.linear import Columns, LinearProgram, LinearSolution, Term
from ems.site.model import Site
from ems.site.tariff import MARKET

Array = NDArray[np.float64]
STEP_H = 0.25  # a relaxation: no market settles over longer steps, a finer one gives its own
LOST_WORK_PER_KWH = 100.0  # dropping a class that has no drop price
PLANT_DOUBT = 0.7  # the simulated chillers are not those of the model: none was seen to draw less than this share of it
CUTS = np.linspace(0.0, 1.0, 5)  # where the reachable cooling state is bounded by tangents


@dataclass(frozen=True)
class BoundResult:
    """Cost parts in the words of a replay's summary; `total` is their sum. One value per step in the series."""

    total: float
    cost: dict[str, float]
    peak_kw: float
    gap: float
    solved: bool
    import_kw: Array
    it_kw: dict[str, Array]
    energy_kwh: dict[str, Array]
    export_kw: Array = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True)
class BoundInputs:
    """True future on contiguous steps of `step_h`. `class_demand_kw[cluster][class]`: mean demand above idle, clipped at the rating."""

    starts: tuple[datetime, ...]
    class_demand_kw: Mapping[str, Mapping[str, Array]]
    price_per_kwh: Array  # market price, the tariff's adder not included
    outdoor_temp_c: Array
    energy_kwh: Mapping[str, float]  # per store at the start
    peak_so_far_kw: float = 0.0
    import_limit_kw: Array | None = None  # per step; the site's when None
    cooling_kw: float | None = None  # power at the start; free when None
    available_kw: Mapping[str, Array] = field(default_factory=dict)  # per renewable
    ordered: frozenset[int] = frozenset()  # steps in which emergency machines may run
    step_h: float = STEP_H


@dataclass
class _Parts:
    """Columns kept for reading the answer."""

    step_h: float
    pays_to_burn: bool  # some price is below zero, so that charging and discharging at once would earn
    power: list[Term]
    it: dict[str, Columns]
    energy: dict[str, Columns]
    throughput: list[tuple[Columns, float]]
    work: list[tuple[Columns, float]]  # columns and money per unit
    generation: GenerationColumns | None = None
    charges: ChargeColumns = field(default_factory=lambda: ChargeColumns(()))


def solve_bound(site: Site, inputs: BoundInputs, budget_s: float = 120.0) -> BoundResult:
    """Solves the window. Raises PlanInfeasible when the solver finds no optimum within `budget_s`."""
    lp = LinearProgram()
    n = len(inputs.starts)
    price = _price(site, inputs)
    parts = _Parts(inputs.step_h, bool(price.min() < 0.0), [], {}, {}, [], [])
    mean_price = float(np.mean(price))
    for cluster in site.clusters:
        _add_cluster(lp, cluster, inputs.class_demand_kw[cluster.id], n, parts)
    for battery in site.batteries:
        _add_battery(lp, battery, inputs.energy_kwh[battery.id], n, mean_price, parts)
    for ups in site.upses:
        _add_ups(lp, ups, inputs.energy_kwh[ups.id], n, mean_price, parts)
    for cooling in site.coolings:
        _add_cooling(lp, cooling, site, inputs, parts)
    parts.generation = add_generation(lp, site, inputs.available_kw, inputs.ordered, inputs.starts, inputs.step_h)
    parts.power += parts.generation.power
    import_kw, export_kw, over_kw = _add_connection(lp, site, inputs, parts)
    peaks = _add_peaks(lp, site, inputs, import_kw)
    parts.charges = add_charges(lp, site, inputs.starts, import_kw, inputs.step_h)
    return _result(site, inputs, lp.solve(budget_s), parts, (import_kw, export_kw, over_kw), peaks, mean_price)


def _add_cluster(lp: LinearProgram, cluster: Cluster, demand_kw: Mapping[str, Array], n: int, parts: _Parts) -> None:
    it = lp.add(n, upper=cluster.rating_kw)
    balance: list[Term] = [(it, 1.0)]
    for name, kind in cluster.classes.items():
        if kind.throttle_price_per_kwh is not None:
            for columns, slope in _cut(lp, kind, kind.throttle_price_per_kwh, demand_kw[name], n, parts):
                parts.work.append((columns, slope * kind.throttle_price_per_kwh * parts.step_h))
                balance.append((columns, 1.0))
        if kind.defer_price_per_kwh is not None and kind.deadline_h is not None:
            defer, recover = _add_deferrable(lp, kind, demand_kw[name], n, parts)
            balance += [*((columns, 1.0) for columns, _ in defer), (recover, -1.0)]
    total = cluster.idle_kw + sum(np.asarray(demand_kw[name], float) for name in cluster.classes)
    lp.require(balance, total, total)
    parts.it[cluster.id] = it
    parts.power.append((it, 1.0))


def _cut(lp: LinearProgram, kind: WorkloadClass, price: float, demand_kw: Array, n: int, parts: _Parts) -> list[tuple[Columns, float]]:
    """The power cut, in parts along the throughput curve, each with the work one kW of it loses."""
    pieces = cut_pieces(kind.throughput_by_power) if kind.throughput_by_power else [(1.0, 1.0)]
    return [(lp.add(n, slope * price * parts.step_h, upper=width * np.asarray(demand_kw, float)), slope) for width, slope in pieces]


def _add_deferrable(
    lp: LinearProgram, kind: WorkloadClass, demand_kw: Array, n: int, parts: _Parts
) -> tuple[list[tuple[Columns, float]], Columns]:
    """Columns of the power held back, each with the work that then waits per kW, and of the power that makes it up."""
    assert kind.defer_price_per_kwh is not None and kind.deadline_h is not None
    drop_price = kind.drop_price_per_kwh if kind.drop_price_per_kwh is not None else LOST_WORK_PER_KWH
    defer = _cut(lp, kind, kind.defer_price_per_kwh, demand_kw, n, parts)
    recover, drop = lp.add(n), lp.add(n, drop_price)
    upper = np.full(n + 1, np.inf)
    upper[[0, n]] = 0.0  # nothing waits before the window, and what waits at its end is dropped
    backlog, deferred = lp.add(n + 1, upper=upper), lp.add(n + 1, upper=np.r_[0.0, np.full(n, np.inf)])
    parts.work += [*((columns, slope * kind.defer_price_per_kwh * parts.step_h) for columns, slope in defer), (drop, drop_price)]
    put_off: list[Term] = [(columns, -slope * parts.step_h) for columns, slope in defer]
    lp.require([(backlog[1:], 1.0), (backlog[:-1], -1.0), *put_off, (recover, parts.step_h), (drop, 1.0)], 0.0, 0.0)
    lp.require([(deferred[1:], 1.0), (deferred[:-1], -1.0), *put_off], 0.0, 0.0)
    lag = int(np.ceil(kind.deadline_h / parts.step_h - 1e-9))
    if lag < n:
        lp.require([(backlog[lag:], 1.0), (deferred[lag:], -1.0), (deferred[: n + 1 - lag], 1.0)], -np.inf, 0.0)
    return defer, recover


def _add_battery(lp: LinearProgram, battery: Battery, energy_kwh: float, n: int, mean_price: float, parts: _Parts) -> None:
    low = min(battery.min_energy_kwh, energy_kwh - battery.auxiliary_kw * parts.step_h * n)
    high = max(battery.max_energy_kwh, energy_kwh)
    limits = (battery.power_kw, battery.power_kw)
    efficiency = (battery.charge_efficiency, battery.discharge_efficiency)
    wear = battery.wear_price_per_kwh
    discharge = _add_store(lp, battery.id, energy_kwh, (low, high), limits, efficiency, wear, battery.auxiliary_kw, n, mean_price, parts)
    if battery.wear_by_depth:  # no cycle is cheaper than one in the shallowest band
        price = battery.wear_by_depth[0][1] / battery.discharge_efficiency * parts.step_h
        drawn = lp.add(n, price)
        lp.require([(drawn, 1.0), (discharge, -1.0)], 0.0, 0.0)
        parts.throughput.append((drawn, price))


def _add_ups(lp: LinearProgram, ups: Ups, energy_kwh: float, n: int, mean_price: float, parts: _Parts) -> None:
    carried: list[Term] = [(parts.it[i], -1.0) for i in ups.carries if i in parts.it]
    if ups.loss_curve:
        parts.power.append((_add_losses(lp, ups, carried, n), 1.0))
    else:
        parts.power += [(columns, ups.loss_fraction) for columns, _ in carried]
    if not ups.is_grid_interactive or ups.is_lead_acid:
        return
    low = min(ups.reserve_soc(0.0) * ups.energy_kwh, energy_kwh)
    efficiency = (ups.charge_efficiency, ups.discharge_efficiency)
    window = (low, max(ups.energy_kwh, energy_kwh))
    limits = (ups.charge_kw, ups.rating_kw)
    discharge = _add_store(lp, ups.id, energy_kwh, window, limits, efficiency, ups.wear_price_per_kwh, 0.0, n, mean_price, parts)
    if not ups.is_bidirectional:
        lp.require([(discharge, 1.0), *carried], -np.inf, 0.0)


def _add_losses(lp: LinearProgram, ups: Ups, carried: Sequence[Term], n: int) -> Columns:
    """Losses above the tangents of their curve: the losses at a mean load are the least a step can have."""
    losses = lp.add(n)
    for at_kw in CUTS * ups.rating_kw:
        slope = ups.marginal_loss(float(at_kw))
        lp.require([(losses, 1.0), *((columns, -slope) for columns, _ in carried)], ups.loss_kw(float(at_kw)) - slope * at_kw, np.inf)
    return losses


def _add_store(
    lp: LinearProgram,
    name: str,
    energy_kwh: float,
    window_kwh: tuple[float, float],
    limits_kw: tuple[float, float],
    efficiency: tuple[float, float],
    wear: float,
    drain_kw: float,
    n: int,
    mean_price: float,
    parts: _Parts,
) -> Columns:
    """A store; returns its discharge columns. What is left at the end is credited at the mean price after discharging it."""
    charge, discharge = lp.add(n, wear * parts.step_h, upper=limits_kw[0]), lp.add(n, wear * parts.step_h, upper=limits_kw[1])
    lower, upper = np.full(n + 1, window_kwh[0]), np.full(n + 1, window_kwh[1])
    lower[0] = upper[0] = energy_kwh
    credit = np.zeros(n + 1)
    credit[n] = -mean_price * efficiency[1]
    energy = lp.add(n + 1, credit, lower, upper)
    gained: list[Term] = [(charge, -parts.step_h * efficiency[0]), (discharge, parts.step_h / efficiency[1])]
    lp.require([(energy[1:], 1.0), (energy[:-1], -1.0), *gained], -drain_kw * parts.step_h, -drain_kw * parts.step_h)
    if parts.pays_to_burn:  # a store does one at a time: means of a step share its time
        most_kw = max(*limits_kw, 1e-9)
        lp.require([(charge, limits_kw[1] / most_kw), (discharge, limits_kw[0] / most_kw)], -np.inf, limits_kw[0] * limits_kw[1] / most_kw)
    parts.energy[name] = energy
    parts.throughput += [(charge, wear * parts.step_h), (discharge, wear * parts.step_h)]
    parts.power += [(charge, 1.0), (discharge, -1.0)]
    return discharge


def _add_cooling(lp: LinearProgram, cooling: Cooling, site: Site, inputs: BoundInputs, parts: _Parts) -> None:
    fraction = cooling_fractions(cooling, inputs.outdoor_temp_c)
    cooled = [parts.it[i] for i in cooling.cools if i in parts.it]
    parts.power += [(columns, fraction) for columns in cooled]
    if cooling.lag_s <= 0.0 or not cooled:
        return
    clusters = [c for c in site.clusters if c.id in cooling.cools]
    low_kw = sum(c.idle_kw for c in clusters) * fraction
    high_kw = sum(c.rating_kw for c in clusters) * fraction
    n, lag_h = len(fraction), cooling.lag_s / 3600
    lower, upper = np.zeros(n + 1), np.full(n + 1, max(high_kw.max(), cooling.rating_kw))
    if inputs.cooling_kw is not None:
        lower[0] = upper[0] = inputs.cooling_kw
    state = lp.add(n + 1, 0.0, lower, upper)
    parts.power += [(state[1:], -lag_h / inputs.step_h), (state[:-1], lag_h / inputs.step_h)]
    _bound_reachable_state(lp, state, cooled, fraction, low_kw, high_kw, inputs.step_h / lag_h)


def _bound_reachable_state(
    lp: LinearProgram, state: Columns, cooled: Sequence[Columns], fraction: Array, low_kw: Array, high_kw: Array, lags: float
) -> None:
    """Tangents around what the lagged state can be at the end of a step whose driving power has a given mean.

    With driving power between low and high and a share s of the step at high, the end state is lowest when high comes first and
    highest when high comes last: kept + low (1 - r) + (high - low) x {exp(-(1 - s) L) - r, 1 - exp(-s L)}, r = exp(-L), L = step / lag.
    The lower one is convex and the upper one concave in s, hence in the mean: tangents never cut off what is reachable.
    """
    kept = np.exp(-lags)
    span = np.maximum(high_kw - low_kw, 1e-9)
    rise = low_kw * (1.0 - kept)
    for s in CUTS:
        least, least_slope = np.exp(-(1.0 - s) * lags) - kept, lags * np.exp(-(1.0 - s) * lags)
        most, most_slope = 1.0 - np.exp(-s * lags), lags * np.exp(-s * lags)
        for value, slope, is_lower in ((least, least_slope, True), (most, most_slope, False)):
            terms: list[Term] = [(state[1:], 1.0), (state[:-1], -kept), *((c, -slope * fraction) for c in cooled)]
            constant = rise + span * (value - slope * s) - slope * low_kw
            lp.require(terms, constant if is_lower else -np.inf, np.inf if is_lower else constant)


def cooling_fractions(cooling: Cooling, outdoor_temp_c: Array) -> Array:
    """kW of cooling per kW of IT per step. Of a plant, whose loop may move heat through the day and whose physics the plan only follows,
    a share that no load and no hour of the window goes under."""
    temps = np.asarray(outdoor_temp_c, float)
    if cooling.plant is None:
        return np.array([cooling.fraction(float(t)) for t in temps])
    capacity_kw, coldest_c = cooling.plant.capacity_kw, float(temps.min())
    least = min(cooling.plant.power_kw(x * capacity_kw, coldest_c) / (x * capacity_kw) for x in np.linspace(0.05, 1.0, 20))
    return np.full(len(temps), PLANT_DOUBT * least)


def _add_connection(lp: LinearProgram, site: Site, inputs: BoundInputs, parts: _Parts) -> tuple[Columns, Columns, Columns]:
    connection, n = site.point_of_connection, len(inputs.starts)
    limit_kw = inputs.import_limit_kw if inputs.import_limit_kw is not None else np.full(n, connection.import_limit_kw)
    price = _price(site, inputs)
    export_price = np.minimum(_export_price(site, inputs), price)
    import_kw = lp.add(n, price * inputs.step_h)
    export_kw = lp.add(n, -export_price * inputs.step_h, upper=connection.export_limit_kw)
    over_kw = lp.add(n, connection.import_breach_price_per_kwh * inputs.step_h)
    fixed_kw = sum(f.power_kw for f in site.fixed_loads)
    lp.require([(import_kw, 1.0), (export_kw, -1.0), *((c, -np.asarray(k)) for c, k in parts.power)], fixed_kw, fixed_kw)
    lp.require([(import_kw, 1.0), (over_kw, -1.0)], -np.inf, limit_kw)
    return import_kw, export_kw, over_kw


def _add_peaks(lp: LinearProgram, site: Site, inputs: BoundInputs, import_kw: Columns) -> list[Columns]:
    """One peak per local billing month over means of the billing interval."""
    zone, per_interval = ZoneInfo(site.time_zone), max(1, round(site.tariff.demand_interval_min / 60 / inputs.step_h))
    month = [s.astimezone(zone).strftime("%Y-%m") for s in inputs.starts]
    interval = np.array([int(s.timestamp()) // (site.tariff.demand_interval_min * 60) for s in inputs.starts])
    peaks = []
    for k, name in enumerate(sorted(set(month))):
        peak = lp.add(1, site.tariff.demand_price_per_kw_month, lower=inputs.peak_so_far_kw if k == 0 else 0.0)
        first = [i for i, m in enumerate(month) if m == name and (i == 0 or interval[i] != interval[i - 1])]
        for i in first:
            steps = [j for j in range(i, min(i + per_interval, len(month))) if interval[j] == interval[i]]
            terms: list[Term] = [(import_kw[j : j + 1], -1.0 / per_interval) for j in steps]
            lp.require([(peak, 1.0), *terms], 0.0, np.inf)
        peaks.append(peak)
    return peaks


def _result(
    site: Site,
    inputs: BoundInputs,
    found: LinearSolution,
    parts: _Parts,
    meter: tuple[Columns, Columns, Columns],
    peaks: list[Columns],
    mean_price: float,
) -> BoundResult:
    imported, exported, over_kw = (found.value(columns) for columns in meter)
    both = np.minimum(imported, exported)  # where they cost the same, the solver may have the meter turn both ways at once
    imported, exported = imported - both, exported - both
    peak_kw = [float(found.value(p)[0]) for p in peaks]
    stores = {s.id: s for s in stores_of(site)}
    energy = {name: found.value(columns) for name, columns in parts.energy.items()}
    credit = sum(-(e[-1] - e[0]) * mean_price * stores[name].discharge_efficiency for name, e in energy.items())
    fuel, owed = (parts.generation.fuel_money(found), parts.generation.owed) if parts.generation is not None else (0.0, 0.0)
    charged = parts.charges.money(found)
    energy_cost = found.objective + owed - fuel - site.tariff.demand_price_per_kw_month * sum(peak_kw) - charged - parts.charges.free_money
    wear, work = (float(sum(price * found.value(c).sum() for c, price in group)) for group in (parts.throughput, parts.work))
    breach = float(site.point_of_connection.import_breach_price_per_kwh * over_kw.sum() * inputs.step_h)
    final_credit = sum(-e[-1] * mean_price * stores[name].discharge_efficiency for name, e in energy.items())
    cost = {
        "energy": energy_cost - wear - work - breach - final_credit,
        "demand": site.tariff.demand_price_per_kw_month * sum(peak_kw) + charged + parts.charges.standing,
        "wear": wear,
        "workload": work,
        "limit_breach": breach,
        "stored_energy_credit": float(credit),
    }
    if site.generators:
        cost["fuel"] = fuel
    it = {name: found.value(c) for name, c in parts.it.items()}
    return BoundResult(sum(cost.values()), cost, max(peak_kw), float(found.gap), True, imported, it, energy, exported)


def _adder(site: Site) -> float:
    return site.tariff.energy_price_per_kwh


def _price(site: Site, inputs: BoundInputs) -> Array:
    market = inputs.price_per_kwh if site.tariff.is_market else np.zeros(len(inputs.starts))
    return np.asarray(market, float) + _adder(site) + least_energy_price(site, inputs.starts)


def _export_price(site: Site, inputs: BoundInputs) -> Array:
    is_market = site.tariff.export_energy in MARKET
    return export_price(site, inputs.starts) + (np.asarray(inputs.price_per_kwh, float) if is_market else 0.0)
