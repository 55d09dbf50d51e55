"""Checks how fast a plan moves generators, from its numbers alone, in plain arithmetic; shares no code with the blocks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ems.assets.generator.model import Generator, GeneratorRun
from ems.plan.inputs import PlanInputs
from ems.plan.plan import Plan
from ems.plan.verify_feeders import is_fast, is_fed_back_in_full
from ems.site.model import Site

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
TOLERANCE_KW = 0.01
STARTS = 2.0  # times the minimum load: the step of a start has only part of it, the next one the rest and its own
SLACK_H = 1 / 12  # a start may bring its minimum load a fine step later: the first step of a plan has any length


def ramp_faults(site: Site, g: Generator, run: GeneratorRun, inputs: PlanInputs, plan: Plan, on: Mask, away: Mask) -> Iterator[str]:
    """Mean powers that rise or fall faster than the ramp between the middles of steps. A start brings the minimum load, a stop takes all,
    and an outage or a fault takes what it takes. A machine that nobody can take power from, or whose fall holds another ramp, falls as it
    must (the plan pays for what it gives too little)."""
    if is_fast(g):
        return
    given, hours = -np.array(plan.power_kw[g.id]), np.array(plan.duration_h)
    reach = g.ramp_kw_per_s * 1800.0 * (hours + np.r_[0.0, hours[:-1]])
    reach[0] = max(reach[0], g.min_power_kw - run.generation_kw)  # what runs is at its minimum load by now
    change = np.diff(np.r_[run.generation_kw, given])
    starts = STARTS * g.min_power_kw * _brings_minimum(g, run, on & ~away, hours)
    most = np.where(away, 0.0, g.power_kw * min(1.0, max(run.available, 0.0)))
    ends = np.where(on & ~away, np.maximum(0.0, np.r_[run.generation_kw, given[:-1]] - most), np.inf)
    must_fall = -np.array(plan.import_kw) >= max(0.0, site.point_of_connection.export_limit_kw) - TOLERANCE_KW
    must_fall |= is_fed_back_in_full(site, g.id, inputs, plan) | (site.point_of_connection.ramp_limit_kw_per_min is not None)
    for word, excess in (
        ("rises", change - reach - starts),
        ("falls", np.where(must_fall, 0.0, -change - np.maximum(reach, ends))),
    ):
        step = int(np.argmax(excess))
        if excess[step] > TOLERANCE_KW:
            yield f"{g.id}: {word} {excess[step]:.3f} kW more than its ramp allows in step {step}"


def _brings_minimum(g: Generator, run: GeneratorRun, on: Mask, hours: Array) -> Mask:
    """Steps in which a start may still bring the minimum load: until its start is over, and the step after."""
    begin = np.cumsum(hours) - hours
    before = np.r_[run.is_on, on[:-1]]
    is_starting = run.is_on and run.generation_kw < g.min_power_kw
    started = np.where(on & ~before, begin, -np.inf)
    started[0] = max(started[0], 0.0 if is_starting else -np.inf)
    since = begin - np.maximum.accumulate(started)
    lasts = g.start_s / 3600.0 + SLACK_H + np.r_[0.0, hours[:-1]]
    return np.asarray(since <= lasts)
