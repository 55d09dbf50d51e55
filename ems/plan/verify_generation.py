"""Checks what a plan says of generators and renewables from its numbers alone, in plain arithmetic, sharing no code with the blocks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ems.assets.generator.model import Generator, GeneratorRun
from ems.plan.inputs import PlanInputs
from ems.plan.plan import Plan
from ems.plan.verify_ramp import ramp_faults
from ems.site.model import Site

Array = NDArray[np.float64]
TOLERANCE_KW = 0.01
TOLERANCE_H = 1e-3
START_SLACK_H = 1 / 12  # a start may be given up to one fine step more: the first step of a plan has any length
OUT = GeneratorRun(False, 1e6, 0.0, 0.0, 0.0, 1e6, 1e6)


def generation_faults(site: Site, inputs: PlanInputs, plan: Plan) -> Iterator[str]:
    """Sources without a row, sun and wind beyond what is there, machines beyond rating, minimum load, permit, minimum times, ramp, or
    started for money although they are of the emergency class."""
    for name in [g.id for g in site.generators] + [r.id for r in site.renewables]:
        if name not in plan.power_kw:
            yield f"{name}: no power planned"
            return
    for renewable in site.renewables:
        there = np.clip(inputs.generation.available_q50_kw.get(renewable.id, np.zeros(inputs.horizon.n)), 0.0, renewable.power_kw)
        given = -np.array(plan.power_kw[renewable.id])
        yield from _worst(f"{renewable.id}: gives more than is there", given - there)
        yield from _worst(f"{renewable.id}: draws power", -given)
        yield from _worst(f"{renewable.id}: loses power", abs(there - given - np.array(plan.curtailed_kw[renewable.id])))
    for generator in site.generators:
        yield from _generator(site, generator, inputs, plan)


def _generator(site: Site, g: Generator, inputs: PlanInputs, plan: Plan) -> Iterator[str]:
    run, given = inputs.generation.runs.get(g.id, OUT), -np.array(plan.power_kw[g.id])
    yield from _worst(f"{g.id}: above its rating", given - g.power_kw * min(1.0, run.available))
    yield from _worst(f"{g.id}: draws power", -given)
    yield from _worst(f"{g.id}: runs through an outage", given * _is_away(g, run, inputs))
    if g.is_emergency:
        ordered = inputs.generation.ordered.get(g.id, np.zeros(len(given)))
        yield from _worst(f"{g.id}: runs for money", given * (ordered <= 0.0))
        return
    if not g.is_baseload:
        yield from _unit(site, g, run, inputs, plan, given)
    on = np.ones(len(given), dtype=bool) if g.is_baseload else np.array(plan.on[g.id]) > 0.5
    yield from ramp_faults(site, g, run, inputs, plan, on, _is_away(g, run, inputs) > 0.0)


def _is_away(g: Generator, run: GeneratorRun, inputs: PlanInputs) -> Array:
    """1 in steps that an announced outage or a repair touches, or the start of a baseload machine after it."""
    begin = np.array([s.timestamp() for s in inputs.horizon.starts])
    end = begin + 3600.0 * np.array(inputs.horizon.duration_h)
    back_h, start_s = (run.blocked_h + run.start_left_h, g.start_s) if g.is_baseload else (run.blocked_h, 0.0)
    away = begin < begin[0] + 3600.0 * back_h - 1.0
    for start, stop in zip(g.outage_start_s, g.outage_end_s, strict=True):
        away |= (begin < stop + start_s) & (end > start) & (stop > begin[0])
    return away.astype(float)


def _unit(site: Site, g: Generator, run: GeneratorRun, inputs: PlanInputs, plan: Plan, given: Array) -> Iterator[str]:
    on, hours = np.array(plan.on[g.id]), np.array(plan.duration_h)
    yield from _worst(f"{g.id}: neither on nor off", np.minimum(on, 1.0 - on))
    is_on = on > 0.5
    yield from _worst(f"{g.id}: gives power while off", given * ~is_on)
    steady = is_on & np.r_[run.is_on, is_on[:-1]] & (np.cumsum(hours) - hours >= g.start_s / 3600.0)
    is_exporting_all = -np.array(plan.import_kw) >= site.point_of_connection.export_limit_kw - TOLERANCE_KW
    starting = _since_start(is_on, run, hours) < g.start_s / 3600.0 + START_SLACK_H
    least = min(g.min_power_kw, g.power_kw * min(1.0, run.available))
    yield from _worst(f"{g.id}: under its minimum load", (least - given) * (steady & ~starting & ~is_exporting_all))
    away = _is_away(g, run, inputs) > 0.0
    yield from _minimum_times(g, run, is_on, away, hours)
    forced_h = max(0.0, g.min_up_h - run.since_h) + float(hours.max()) if run.is_on else 0.0
    if g.permit_h_per_year is not None and float(hours @ on) > max(run.permit_left_h, forced_h) + TOLERANCE_H:
        yield f"{g.id}: runs {float(hours @ on):.2f} h of {run.permit_left_h:.2f} h its permit leaves"
    burnt = float(sum(h * g.burns_per_h(kw) for h, kw, runs in zip(hours, given, is_on, strict=True) if runs))
    emitted, forced = burnt * g.emission_kg_per_fuel, forced_h * g.burns_per_h(g.min_power_kw) * g.emission_kg_per_fuel
    if g.emission_kg_per_year is not None and emitted > max(run.emission_left_kg, forced) * (1.0 + 1e-6) + TOLERANCE_H:
        yield f"{g.id}: emits {emitted:.2f} kg of {run.emission_left_kg:.2f} kg left"


def _since_start(is_on: NDArray[np.bool_], run: GeneratorRun, hours: Array) -> Array:
    """Hours from the last start to the beginning of each step; long ago for a machine that was on."""
    begin = np.cumsum(hours) - hours
    started = -run.since_h if run.is_on else -1e6
    since, before = [], run.is_on
    for k, now in enumerate(is_on.tolist()):
        started = begin[k] if now and not before else started
        since.append(begin[k] - started)
        before = now
    return np.array(since)


def _minimum_times(g: Generator, run: GeneratorRun, is_on: NDArray[np.bool_], away: NDArray[np.bool_], hours: Array) -> Iterator[str]:
    """Every change must lie the minimum time after the change before it, unless an outage or a fault forces it."""
    begin = np.cumsum(hours) - hours
    state, changed = run.is_on, -run.since_h
    for k, now in enumerate(is_on.tolist()):
        if now == state:
            continue
        least_h, word = (g.min_up_h, "on") if state else (g.min_down_h, "off")
        if begin[k] - changed < least_h - TOLERANCE_H and not away[k]:
            yield f"{g.id}: {word} for {begin[k] - changed:.2f} h of at least {least_h:g} h in step {k}"
        state, changed = now, begin[k]


def _worst(name: str, excess: Array) -> Iterator[str]:
    step = int(np.argmax(excess))
    if excess[step] > TOLERANCE_KW:
        yield f"{name} by {excess[step]:.3f} in step {step}"
