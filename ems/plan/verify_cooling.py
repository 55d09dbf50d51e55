"""Checks what a plan says of supply temperatures from its numbers alone, in plain arithmetic, sharing no code with the blocks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ems.assets.cooling.model import Cooling
from ems.assets.cooling.plant import CoolingPlant
from ems.plan.inputs import PlanInputs
from ems.plan.plan import Plan
from ems.site.model import Site

Array = NDArray[np.float64]
TOLERANCE_K = 0.001
TOLERANCE_KW = 0.01
KWH_PER_M3_K = 4186.0 / 3600.0  # of water
ABOVE_DEW_K = 2.0


def cooling_faults(site: Site, inputs: PlanInputs, plan: Plan) -> Iterator[str]:
    """Supplies without a course or led where nobody may, not starting where they are, colder than the dew point and the site file allow,
    warmer than commissioned, moved faster than the plant may, or by more heat than it removes without its redundant units."""
    led = {c.id: c for c in site.coolings if c.is_led}
    for name in set(plan.supply_temp_c) - set(led):
        yield f"{name}: its supply is led although it may not be"
    for name, cooling in led.items():
        if len(plan.supply_temp_c.get(name, ())) != inputs.horizon.n + 1:
            yield f"{name}: no course of its supply for {inputs.horizon.n} steps"
        else:
            yield from _supply(site, cooling, inputs, plan)


def _supply(site: Site, cooling: Cooling, inputs: PlanInputs, plan: Plan) -> Iterator[str]:
    plant, course = cooling.plant, plan.supply_temp_c[cooling.id]
    assert plant is not None
    measured = inputs.supply_temp_c.get(cooling.id, plant.supply_temp_c)
    now_c = min(measured, plant.supply_temp_c)
    if abs(course[0] - now_c) > TOLERANCE_K:
        yield f"{cooling.id}: starts at {course[0]:.2f} degrees C, not at {now_c:.2f}"
    if max(course) > plant.supply_temp_c + TOLERANCE_K:
        yield f"{cooling.id}: warmer than commissioned by {max(course) - plant.supply_temp_c:.2f} K"
    heat = _foreseen(site, cooling, inputs)
    for k, ((before_c, after_c), hours) in enumerate(zip(pairwise(course), plan.duration_h, strict=True)):
        out_kw = _taken_out_kw(plant, before_c, after_c, hours)
        if abs(after_c - before_c) > 60.0 * plant.supply_rate_k_per_min * hours + TOLERANCE_K:
            yield f"{cooling.id}: its supply moves too fast in step {k}"
        if out_kw > max(0.0, plant.firm_kw - heat[k]) + TOLERANCE_KW:
            yield f"{cooling.id}: takes out {out_kw:.1f} kW more heat than it can without its redundant units in step {k}"
        if -out_kw > 0.8 * heat[k] + TOLERANCE_KW:
            yield f"{cooling.id}: below its least load in step {k}"
        if after_c < max(_coldest_c(cooling, inputs)[k : k + 2]) - TOLERANCE_K and after_c < before_c - TOLERANCE_K:
            yield f"{cooling.id}: supply of {after_c:.2f} degrees C in step {k} is too cold"


def _taken_out_kw(plant: CoolingPlant, before_c: float, after_c: float, hours: float) -> float:
    """Heat taken out of loop and usable tank over a step, kW; what the tank loses by itself has to be taken out again."""
    tank_m3 = plant.tank_m3 * plant.tank_usable_share
    lost = math.exp(-plant.tank_loss_per_day / 24.0 * tank_m3 / (plant.loop_m3 + tank_m3) * hours)
    cold_k = (plant.supply_temp_c - after_c) - lost * (plant.supply_temp_c - before_c)
    return cold_k * (plant.loop_m3 + tank_m3) * KWH_PER_M3_K / hours


def _coldest_c(cooling: Cooling, inputs: PlanInputs) -> list[float]:
    """The lowest supply allowed in each step; the commissioned one where no dew point is expected."""
    plant = cooling.plant
    assert plant is not None
    home_c, dew_c = plant.supply_temp_c, inputs.dew_point_c.get(cooling.id)
    if dew_c is None or plant.supply_lowest_c is None:
        return [home_c] * inputs.horizon.n
    return [min(home_c, max(plant.supply_lowest_c, float(c) + ABOVE_DEW_K)) for c in dew_c]


def _foreseen(site: Site, cooling: Cooling, inputs: PlanInputs) -> Array:
    cooled = [c for c in site.clusters if c.id in cooling.cools]
    return sum((np.clip(inputs.load_q50_kw[c.id], c.idle_kw, c.rating_kw) for c in cooled), start=np.zeros(inputs.horizon.n))


def cold_power_kw(site: Site, cooling: Cooling, inputs: PlanInputs, plan: Plan) -> Array:
    """Power per step that leading the supply takes (or saves), from the planned course and the plant's curve: heat beyond what comes in
    at the chord above it with the coldest supply, heat left for later at the chord below it with the commissioned one, and a colder
    supply at its mean."""
    plant, course = cooling.plant, np.array(plan.supply_temp_c[cooling.id])
    assert plant is not None
    hours = np.array(plan.duration_h)
    out_kw = [_taken_out_kw(plant, a, b, h) for (a, b), h in zip(pairwise(course.tolist()), hours.tolist(), strict=True)]
    tank_m3 = plant.tank_m3 * plant.tank_usable_share
    colder_k = plant.supply_temp_c - 0.5 * (course[1:] + course[:-1])
    power = []
    heats, temps = _foreseen(site, cooling, inputs).tolist(), inputs.outdoor_temp_c.tolist()
    for heat, temp, lowest_c, out, colder in zip(heats, temps, _coldest_c(cooling, inputs), out_kw, colder_k, strict=True):
        span_k = plant.supply_temp_c - lowest_c
        here, wide = plant.power_kw(heat, temp), max(span_k * (plant.loop_m3 + tank_m3) * KWH_PER_M3_K, plant.capacity_kw / 20.0)
        below = max(0.0, (here - plant.power_kw(max(heat - wide, 0.0), temp)) / min(wide, max(heat, 1e-9)))
        cold = plant.power_kw(heat, temp, span_k)
        above = max(below, (plant.power_kw(heat + wide, temp, span_k) - cold) / wide)
        per_k = max(0.0, cold - here) / span_k * plant.loop_m3 / (plant.loop_m3 + tank_m3) if span_k > 0.0 else 0.0
        power.append(out * (above if out > 0.0 else below) + per_k * colder)
    return np.array(power)
