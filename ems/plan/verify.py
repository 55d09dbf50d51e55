"""Checks a plan from its numbers alone, in plain arithmetic, sharing no code with the blocks. Returns what is wrong, in words."""

from __future__ import annotations

import math
from collections.abc import Iterator
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from ems.assets.battery.model import Battery
from ems.assets.ups.model import Ups
from ems.plan.inputs import PlanInputs, stores_of
from ems.plan.plan import Plan
from ems.plan.tariff_verify import charge_faults, minimum_faults
from ems.plan.verify_branches import branch_faults
from ems.plan.verify_cooling import cooling_faults
from ems.plan.verify_feeders import feeder_faults
from ems.plan.verify_flows import drawn_kw, feeder_losses
from ems.plan.verify_generation import generation_faults
from ems.plan.verify_inside import inside_faults
from ems.plan.verify_tier import tier_faults
from ems.plan.verify_workload import cluster_faults
from ems.site.model import Site

Array = NDArray[np.float64]
TOLERANCE = 0.01  # kW, kWh
MONEY_TOLERANCE = 1e-4  # relative
RAMP_MONEY_PER_KW = 5.0


def verify(site: Site, inputs: PlanInputs, plan: Plan) -> list[str]:
    """Faults of a plan: shape, balance, bounds, energies, reserve, limits, peak and the money of its main parts. Empty when it stands."""
    faults = list(_shape(site, inputs, plan))
    if faults:
        return faults
    for cluster in site.clusters:
        faults += cluster_faults(cluster, inputs, plan)
    for battery in site.batteries:
        faults += _battery(battery, inputs, plan, ZoneInfo(site.time_zone))
    for ups in site.upses:
        faults += _ups(ups, inputs, plan, ZoneInfo(site.time_zone))
    faults += generation_faults(site, inputs, plan)
    faults += cooling_faults(site, inputs, plan)
    faults += _balance(site, inputs, plan)
    faults += feeder_faults(site, inputs, plan)
    faults += inside_faults(site, inputs, plan)
    faults += tier_faults(site, inputs, plan)
    faults += _limits(site, inputs, plan)
    faults += charge_faults(inputs, plan)
    faults += minimum_faults(inputs, plan)
    faults += branch_faults(site, inputs, plan)
    return [*faults, *_money(site, inputs, plan)]


def _shape(site: Site, inputs: PlanInputs, plan: Plan) -> Iterator[str]:
    n = inputs.horizon.n
    if plan.starts != inputs.horizon.starts or plan.duration_h != inputs.horizon.duration_h:
        yield "the steps are not those asked for"
    rows = {"import": plan.import_kw, "marginal price": plan.marginal_price_per_kwh, **plan.power_kw}
    for cluster, classes in plan.classes.items():
        for name, planned in classes.items():
            by_word = {"deferred": planned.defer_kw, "recovered": planned.recover_kw, "throttled": planned.throttle_kw}
            rows |= {f"{cluster} {name} {word}": row for word, row in by_word.items()}
    for name, row in rows.items():
        if len(row) != n:
            yield f"{name}: {len(row)} values for {n} steps"
    for name, row in plan.energy_kwh.items():
        if len(row) != n + 1:
            yield f"{name}: {len(row)} energies for {n} steps"
    numbers = (*rows.values(), *plan.energy_kwh.values(), (plan.peak_kw, plan.objective))
    if not all(np.isfinite(row).all() for row in numbers):
        yield "a number is not finite"
    for asset in [c.id for c in site.clusters] + [s.id for s in stores_of(site)]:
        if asset not in plan.power_kw:
            yield f"{asset}: no power planned"


def _worst(name: str, excess: Array) -> Iterator[str]:
    """A fault naming the step in which something is exceeded most."""
    step = int(np.argmax(excess))
    if excess[step] > TOLERANCE:
        yield f"{name} by {excess[step]:.3f} in step {step}"


def _store(name: str, power: Array, energy: Array, hours: Array, efficiency: tuple[float, float], drain_kw: float) -> Iterator[str]:
    """Energy may not grow more than the net power gives: charging and discharging at once only ever loses."""
    gained = hours * (efficiency[0] * np.maximum(power, 0.0) - np.maximum(-power, 0.0) / efficiency[1] - drain_kw)
    yield from _worst(f"{name}: energy from nowhere", np.diff(energy) - gained)


def _battery(battery: Battery, inputs: PlanInputs, plan: Plan, zone: ZoneInfo) -> Iterator[str]:
    name, hours = battery.id, np.array(plan.duration_h)
    power, energy = np.array(plan.power_kw[name]), np.array(plan.energy_kwh[name])
    now_kwh = inputs.store_energy_kwh[name]
    present = inputs.present.get(name, 1.0)
    rating = 0.0 if name in inputs.unavailable else battery.power_kw * present * _ambient_share(battery, inputs)
    yield from _worst(f"{name}: does not start where it is", np.abs(energy[:1] - now_kwh))
    yield from _store(name, power, energy, hours, (battery.charge_efficiency, battery.discharge_efficiency), battery.auxiliary_kw)
    yield from _worst(f"{name}: above its rating", np.abs(power) - rating)
    yield from _charge_limits(battery, present, power, energy)
    if battery.warranty_kwh_per_day is not None:
        yield from _budget(name, battery.warranty_kwh_per_day, inputs, power, hours, zone)
    floor: Array = np.minimum(battery.soc_min * battery.energy_kwh * present, now_kwh - battery.auxiliary_kw * np.r_[0.0, np.cumsum(hours)])
    yield from _worst(f"{name}: below its window", floor - energy)
    yield from _worst(f"{name}: above its window", energy - max(battery.soc_max * battery.energy_kwh * present, now_kwh))


def _ambient_share(battery: Battery, inputs: PlanInputs) -> Array:
    if not battery.limit_by_ambient_c:
        return np.ones(inputs.horizon.n)
    temps, shares = zip(*battery.limit_by_ambient_c, strict=True)
    return np.asarray(np.interp(inputs.outdoor_temp_c, temps, shares))


def _charge_limits(battery: Battery, present: float, power: Array, energy: Array) -> Iterator[str]:
    """Power at the mean state of charge of each step, on the curve itself instead of the lines through it."""
    for points, signed, word in ((battery.charge_limit_by_soc, power, "charges"), (battery.discharge_limit_by_soc, -power, "discharges")):
        if points:
            soc = 0.5 * (energy[1:] + energy[:-1]) / (battery.energy_kwh * max(present, 1e-9))
            socs, shares = zip(*points, strict=True)
            limit = battery.power_kw * present * np.interp(soc, socs, shares)
            yield from _worst(f"{battery.id}: {word} more than its state of charge allows", np.maximum(signed, 0.0) - limit)


def _budget(name: str, kwh_per_day: float, inputs: PlanInputs, power: Array, hours: Array, zone: ZoneInfo) -> Iterator[str]:
    """Net discharge per local day, with what has been counted today already; without a count today's is the block's to know."""
    today = inputs.horizon.starts[0].astimezone(zone).date()
    days: dict[object, float] = {today: min(inputs.given_kwh.get(name, 0.0), kwh_per_day)}
    for start, kw, h in zip(inputs.horizon.starts, np.maximum(-power, 0.0), hours, strict=True):
        day = start.astimezone(zone).date()
        days[day] = days.get(day, 0.0) + float(kw * h)
    yield from _worst(f"{name}: gives more in a day than it may", np.array(list(days.values())) - kwh_per_day)


def _ups(ups: Ups, inputs: PlanInputs, plan: Plan, zone: ZoneInfo) -> Iterator[str]:
    name, hours = ups.id, np.array(plan.duration_h)
    power, energy = np.array(plan.power_kw[name]), np.array(plan.energy_kwh[name])
    now_kwh = min(max(inputs.store_energy_kwh[name], 0.0), ups.energy_kwh)
    may_move = ups.is_grid_interactive and not ups.is_lead_acid and name not in inputs.unavailable
    charge, discharge = (ups.charge_kw, ups.rating_kw) if may_move else (0.0, 0.0)
    yield from _worst(f"{name}: does not start where it is", np.abs(energy[:1] - now_kwh))
    yield from _store(name, power, energy, hours, (ups.charge_efficiency, ups.discharge_efficiency), 0.0)
    yield from _worst(f"{name}: above its rating", np.maximum(power - charge, -power - discharge))
    if ups.cell_kwh_per_day is not None:
        yield from _budget(name, ups.cell_kwh_per_day, inputs, power, hours, zone)
    if not ups.is_bidirectional:
        carried = sum((np.array(plan.power_kw[i]) for i in ups.carries if i in plan.power_kw), start=np.zeros(len(power)))
        yield from _worst(f"{name}: relieves more than it carries", -power - carried)
    open_hours = hours * _open_share(inputs)
    slow = charge if ups.recharge_kw is None else min(charge, ups.recharge_kw)
    reachable = now_kwh + np.r_[0.0, np.cumsum(open_hours)] * slow * ups.charge_efficiency
    reserve = np.minimum(min(inputs.reserve_kwh.get(name, 0.0), ups.energy_kwh), reachable)
    yield from _worst(f"{name}: below its reserve", reserve - energy)
    yield from _worst(f"{name}: above full", energy - ups.energy_kwh)


def _open_share(inputs: PlanInputs) -> Array:
    hours = np.array(inputs.horizon.duration_h)
    if inputs.settle_at is None:
        return np.ones(len(hours))
    left_h = (inputs.settle_at - inputs.horizon.starts[0]).total_seconds() / 3600 - (np.cumsum(hours) - hours)
    return np.clip(left_h / hours, 0.0, 1.0)


def _balance(site: Site, inputs: PlanInputs, plan: Plan) -> Iterator[str]:
    drawn = drawn_kw(site, inputs, plan)
    total = sum(drawn.values(), start=np.zeros(inputs.horizon.n)) + feeder_losses(site, drawn)
    yield from _worst("import is not the sum of its parts", abs(np.array(plan.import_kw) - total))


def _limits(site: Site, inputs: PlanInputs, plan: Plan) -> Iterator[str]:
    """Import above the limit stands only where nothing that may be cut was left; export never above its limit."""
    imported = np.array(plan.import_kw)
    above = imported - np.maximum(inputs.envelope.kw, 0.0)
    idle = sum(c.idle_kw for c in site.clusters)
    left = sum(np.array(plan.power_kw[c.id]) for c in site.clusters) - idle
    cuttable = all(
        k.throttle_price_per_kwh is not None or k.defer_price_per_kwh is not None for c in site.clusters for k in c.classes.values()
    )
    if cuttable:
        yield from _worst("import above the limit although work could still be cut", np.minimum(above, left))
    yield from _worst("export above the limit", -imported - max(0.0, site.point_of_connection.export_limit_kw))
    means = _interval_means(site, inputs, imported)
    yield from _worst("the peak is below an interval it should hold", means - plan.peak_kw)


def _interval_means(site: Site, inputs: PlanInputs, imported: Array) -> Array:
    """Means of this month's billing intervals that lie whole in the short steps, and of the longer steps themselves."""
    length_s = site.tariff.demand_interval_min * 60
    turns_s = inputs.meter.next_month_at.timestamp() if inputs.meter.next_month_at else math.inf
    turns_s = min(turns_s, inputs.settle_at.timestamp() if inputs.settle_at else math.inf)
    energy: dict[int, float] = {}
    means = []
    for start, hours, kw in zip(inputs.horizon.starts, inputs.horizon.duration_h, imported.tolist(), strict=True):
        at_s = start.timestamp()
        if at_s >= turns_s:
            break
        interval, into_s = divmod(at_s, length_s)
        if into_s + hours * 3600 <= length_s + 1e-6:
            energy[int(interval)] = energy.get(int(interval), 0.0) + kw * hours
        else:
            means.append(kw if hours * 3600 >= length_s and into_s == 0.0 else 0.0)
    running = int(inputs.horizon.starts[0].timestamp() // length_s)
    if running in energy:
        energy[running] += inputs.meter.interval_energy_kwh
    return np.array([*means, *(e * 3600 / length_s for e in energy.values())] or [0.0])


def _money(site: Site, inputs: PlanInputs, plan: Plan) -> Iterator[str]:
    """Energy, demand charge, wear and work held back, priced again from the powers."""
    paid_h = np.array(plan.duration_h) * _open_share(inputs)
    imported = np.array(plan.import_kw)
    price = np.where(imported >= 0.0, inputs.import_price_per_kwh, np.minimum(inputs.export_price_per_kwh, inputs.import_price_per_kwh))
    again = {"energy": float(paid_h @ (price * imported))}
    known_kw = max(inputs.meter.peak_so_far_kw, inputs.meter.expected_peak_kw, 0.0)
    again["demand"] = site.tariff.demand_price_per_kw_month * max(0.0, plan.peak_kw - known_kw)
    ramp = site.point_of_connection.ramp_limit_kw_per_min
    if ramp is not None:
        again["ramp limit"] = RAMP_MONEY_PER_KW * _beyond_ramp_kw(ramp, inputs, imported)
    for part, money in again.items():
        if part in plan.cost and abs(money - plan.cost[part]) > MONEY_TOLERANCE * max(1.0, abs(money)):
            yield f"{part} costs {money:.4f}, not {plan.cost[part]:.4f}"
    if plan.cost and abs(sum(plan.cost.values()) - plan.objective) > MONEY_TOLERANCE * max(1.0, abs(plan.objective)):
        yield f"the parts cost {sum(plan.cost.values()):.4f}, the objective says {plan.objective:.4f}"


def _beyond_ramp_kw(ramp_kw_per_min: float, inputs: PlanInputs, imported: Array) -> float:
    """Change of import beyond what the ramp limit allows between the middles of neighbouring steps, summed; from the import now on."""
    hours = np.array(inputs.horizon.duration_h)
    middle_h = np.cumsum(hours) - 0.5 * hours
    change, minutes = np.abs(np.diff(imported)), 60.0 * np.diff(middle_h)
    beyond = float(np.maximum(change - ramp_kw_per_min * minutes, 0.0).sum())
    if inputs.import_now_kw is not None:
        beyond += max(abs(float(imported[0]) - inputs.import_now_kw) - ramp_kw_per_min * 60.0 * float(middle_h[0]), 0.0)
    return beyond
