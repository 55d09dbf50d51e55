"""An offer held against the optimizer that will deliver it: the plan is solved again with the reduction in it, on low and on high loads.

For a probability p the load is taken at its quantiles 1 - p and p: low loads leave less work that can wait, high ones less storage. The
reduction is counted from what the plan of the same load imports without it. It holds when no step of the window lies above, and no work
is throttled for it; else the largest part that does is offered. The backup reserve is no matter of price in the plan: it is kept. For a
programme that allows no generators the plans, with and without the reduction, are solved as if no machine that may be started were there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from ems.errors import PlanInfeasible
from ems.forecast.quantiles import LEVELS as QUANTILES
from ems.forecast.quantiles import Quantiles
from ems.obligation import Obligation
from ems.plan.generation import unknown_run
from ems.plan.inputs import ImportEnvelope, PlanInputs
from ems.plan.loop import PlanLoop
from ems.plan.plan import Plan
from ems.plan.state import PlanState
from ems.program.offer import Offer
from ems.signals.weather import WeatherRow
from ems.site.model import Site

Array = NDArray[np.float64]
TOLERANCE_KW = 1.0
HALVINGS = 4
Q90 = NormalDist().inv_cdf(0.9)


class PlannedLoad:
    """The demand of one cluster as a plan expected it, so many standard deviations above its median."""

    def __init__(self, plan: Plan, cluster: str, idle_kw: float) -> None:
        self.sigmas = 0.0
        self._plan, self._idle_kw = plan, idle_kw
        self._q50, self._q90 = plan.load_q50_kw[cluster], plan.load_q90_kw[cluster]

    def observe(self, start: datetime, duration_s: float, mean_kw: float | None) -> None:
        """Learns nothing: what the plan expected stands."""

    def forecast(self, now: datetime, starts: Sequence[datetime], duration_h: Sequence[float]) -> Quantiles:
        """The course in every quantile, and above it the plan's own upper one."""
        at = [self._plan.horizon.index_at(s) for s in starts]
        last = len(self._q50) - 1
        steps = [min(last, last if k is None else k) for k in at]
        course = np.array([max(self._idle_kw, self._q50[k] + self.sigmas * (self._q90[k] - self._q50[k]) / Q90) for k in steps])
        upper = np.maximum(course, np.array([self._q90[k] for k in steps]))
        return Quantiles(tuple(starts), tuple(duration_h), {q: course if q <= 0.5 else upper for q in QUANTILES})

    def max_quantile(self, now: datetime, hours: float, level: float = 0.99) -> float:
        """Never asked for: the reserve is the running plan's."""
        return max(self._q90)


class PlannedPrices:
    """The prices that a plan was made with."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def add(self, rows: Iterable[object]) -> None:
        """Learns nothing."""

    def forecast(self, now: datetime, starts: Sequence[datetime], duration_h: Sequence[float]) -> Array:
        """The plan's price per step."""
        last = len(self._plan.price_per_kwh) - 1
        at = [self._plan.horizon.index_at(s) for s in starts]
        return np.array([self._plan.price_per_kwh[last if k is None else k] for k in at])


@dataclass(frozen=True)
class Held:
    """How far a reduction stands in the plan solved again; `where` names the step in which it does not."""

    is_held: bool
    where: str = ""


class Resolver:
    """The optimizer of one site on the state and the expectations of its running plan. Not to be shared between threads."""

    def __init__(self, site: Site, plan: Plan, state: PlanState, now: datetime, obligations: Iterable[Obligation] = ()) -> None:
        self.loads = {c.id: PlannedLoad(plan, c.id, c.idle_kw) for c in site.clusters if c.id in plan.load_q50_kw}
        self._loop = PlanLoop(site, loads=self.loads, prices=PlannedPrices(plan))
        if state.outdoor_temp_c is not None:
            self._loop.add_weather([WeatherRow(now - timedelta(hours=1), now, now, state.outdoor_temp_c)])
        self._loop.add_events(obligations)
        self._now, self._state, self._plan = now, state, plan
        self._startable = [g.id for g in site.generators if not g.is_baseload]
        self._without: dict[tuple[float, bool], tuple[PlanInputs, Plan]] = {}

    def holds(self, start: datetime, hours: float, kw: float, probability: float, generators: bool = True) -> Held:
        """Whether a reduction of `kw` stands throughout with that probability. `generators`: with machines that may be started."""
        sigmas = NormalDist().inv_cdf(probability)
        for course in dict.fromkeys((-sigmas, sigmas)):
            found = self._holds_at(start, start + timedelta(hours=hours), kw, course, generators)
            if not found.is_held:
                return found
        return Held(True)

    def _holds_at(self, start: datetime, end: datetime, kw: float, sigmas: float, generators: bool) -> Held:
        inputs, without = self._planned(sigmas, generators)
        steps = [k for k, s in enumerate(without.starts) if s < end and s + timedelta(hours=without.duration_h[k]) > start]
        limit = inputs.envelope.kw.copy()
        for k in steps:
            limit[k] = min(limit[k], max(0.0, without.import_kw[k] - kw))
        try:
            plan = self._loop.planner.plan(replace(inputs, envelope=ImportEnvelope(limit, inputs.envelope.source)))
        except PlanInfeasible as error:
            return Held(False, str(error))
        over = {k: plan.import_kw[k] - limit[k] for k in steps}
        cut = {k: throttled_kw(plan, k) - throttled_kw(without, k) for k in steps}
        worst = max(steps, key=lambda k: max(over[k], cut[k]), default=None)
        if worst is None or max(over[worst], cut[worst]) <= TOLERANCE_KW:
            return Held(True)
        what = f"{over[worst]:.0f} kW short" if over[worst] > TOLERANCE_KW else f"{cut[worst]:.0f} kW of work throttled"
        return Held(False, f"{what} at {without.starts[worst]:%H:%M} UTC with the load {sigmas:+.1f} deviations off")

    def _planned(self, sigmas: float, generators: bool) -> tuple[PlanInputs, Plan]:
        """What is planned for a course of the load without the reduction."""
        if (sigmas, generators) not in self._without:
            for load in self.loads.values():
                load.sigmas = sigmas
            inputs = self._loop.make_inputs(self._now, self._state)
            meter = replace(inputs.meter, expected_peak_kw=self._plan.peak_kw, expected_next_peak_kw=self._plan.peak_kw)
            critical_kw = self._plan.critical_q99_kw if self._plan.critical_q99_kw is not None else inputs.critical_q99_kw
            reserve_for_kw = max(self._state.critical_kw, critical_kw or 0.0)
            reserve = {u.id: u.reserve_soc(reserve_for_kw) * u.energy_kwh for u in self._loop.site.upses}
            inputs = replace(inputs, meter=meter, critical_q99_kw=critical_kw, reserve_kwh=reserve)
            if not generators:
                runs = {**inputs.generation.runs, **{g: unknown_run() for g in self._startable}}
                inputs = replace(inputs, generation=replace(inputs.generation, runs=runs))
            self._without[sigmas, generators] = (inputs, self._loop.planner.plan(inputs))
        return self._without[sigmas, generators]


def throttled_kw(plan: Plan, step: int) -> float:
    """Work that is never served, in a step."""
    return sum(rows.throttle_kw[step] for named in plan.classes.values() for rows in named.values())


Memory = dict[tuple[float, float, float, bool], tuple[float, str]]


def resolved(offer: Offer, resolver: Resolver, step_kw: float | None, memory: Memory, generators: bool = True) -> Offer:
    """The offer with what the plan solved again holds: at most what was offered, and never more at a higher probability. `memory` keeps
    what was asked before."""
    kw: dict[float, float] = {}
    said = ""
    most = float("inf")
    for probability, offered in sorted(offer.kw.items()):
        asked = min(offered, most)
        key = (offer.hours, round(asked, 1), probability, generators)
        if key not in memory:
            memory[key] = _largest(offer, resolver, asked, probability, generators)
        most, why = memory[key]
        kw[probability] = most = most if not step_kw else step_kw * (most // step_kw)
        said = said or why
    limiting = f"{offer.limiting}; solved again: {said}" if said else offer.limiting
    return replace(offer, kw=kw, limiting=limiting, is_solved_again=True)


def _largest(offer: Offer, resolver: Resolver, kw: float, probability: float, generators: bool) -> tuple[float, str]:
    """The largest part of `kw` that holds, and why not all of it."""
    if kw <= TOLERANCE_KW:
        return kw, ""
    found = resolver.holds(offer.start, offer.hours, kw, probability, generators)
    if found.is_held:
        return kw, ""
    low, high = 0.0, kw
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        is_held = resolver.holds(offer.start, offer.hours, middle, probability, generators).is_held
        low, high = (middle, high) if is_held else (low, middle)
    return low, found.where
