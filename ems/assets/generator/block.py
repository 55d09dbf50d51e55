"""How a generator enters the plan: N mean powers, on/off only where the machine may run for money.

Three blocks with one face (`power_kw`, `generation_kw`, `cost`, `constraints`, `update`): a permitted machine decides on and off (the only
binaries of the plan), a baseload machine runs whenever it can and only its power is led, an emergency machine decides nothing: it gives
what an order or its own transfer control makes it give.
"""

from __future__ import annotations

from collections.abc import Callable

import cvxpy as cp
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ems.assets.generator.model import HOURS_PER_YEAR, Duty, Generator, GeneratorRun

Array = NDArray[np.float64]
Window = Callable[[int, float], int]  # (step, lag in h) -> first step that may begin less than the lag before it
TIE_BREAK_PER_START = 1e-2  # two equal plans: the one that starts less
ROUNDING_H = 1e-6
UNDER_PRICE_PER_KWH = 20.0  # of giving less than it must: only where the site could not take or export it otherwise
FAST_RISE_S = 300.0  # a machine that crosses its range within so many seconds needs no ramp rows


class UnitBlock:
    """A permitted machine.

    min x on <= power <= max x on, less what is lost while it starts; a start or a stop is the difference of two steps; within the minimum
    up (down) time before a step no start (stop) may lie unless the machine is on (off) in it. Fuel stands above every line of its curve.
    """

    def __init__(self, generator: Generator, duration_h: cp.Parameter, window: Window) -> None:
        n, g = duration_h.size, generator
        self.generator = g
        self.on = cp.Variable(n, boolean=True)
        self.start, self.stop = cp.Variable(n, nonneg=True), cp.Variable(n, nonneg=True)
        self.generation_kw, self.fuel_per_h = cp.Variable(n, nonneg=True), cp.Variable(n, nonneg=True)
        self.under_kw = cp.Variable(n, nonneg=True)
        self.on_now = cp.Parameter(nonneg=True)
        self.may_on, self.must_on = cp.Parameter(n, nonneg=True), cp.Parameter(n, nonneg=True)
        self.most_kw, self.least_kw = cp.Parameter(n, nonneg=True), cp.Parameter(n, nonneg=True)
        self.lost_kw, self.lost_least_kw = cp.Parameter(n, nonneg=True), cp.Parameter(n, nonneg=True)
        self.still_lost_kw, self.still_lost_least_kw = (
            cp.Parameter(n, nonneg=True),
            cp.Parameter(n, nonneg=True),
        )  # to a start one step before
        self.permit_left_h = cp.Parameter(nonneg=True)
        self.power_kw = -self.generation_kw
        self.paid_h = cp.Parameter(n, nonneg=True)  # of each step, what lies before the accounts close
        self.cost = _running_cost(g, self.paid_h, self.fuel_per_h, self.generation_kw)
        self.cost = self.cost + (g.start_cost + TIE_BREAK_PER_START) * cp.sum(self.start)
        self.cost = self.cost + g.permit_hour_price * (self.paid_h @ self.on) + UNDER_PRICE_PER_KWH * (duration_h @ self.under_kw)
        started = cp.hstack([0.0, self.start[:-1]])
        starting = _starting(self.start, window, g.start_s / 3600.0)
        before = cp.hstack([self.on_now, self.on[:-1]]) if n > 1 else self.on_now
        self.constraints: dict[str, cp.Constraint] = {
            "a start or a stop is a change of on": self.on - before == self.start - self.stop,
            "runs only when it may": self.on <= self.may_on,
            "runs on through its minimum up time": self.on >= self.must_on,
            "stays on for the minimum up time": _sums(self.start, window, g.min_up_h) <= self.on,
            "stays off for the minimum down time": _sums(self.stop, window, g.min_down_h) <= 1.0 - self.on,
            "at most its rating, less the start": self.generation_kw
            <= cp.multiply(self.most_kw, self.on - starting)
            - cp.multiply(self.lost_kw, self.start)
            - cp.multiply(self.still_lost_kw, started),
            "at least its minimum load once started": self.generation_kw
            >= cp.multiply(self.least_kw, self.on - starting)
            - cp.multiply(self.lost_least_kw, self.start)
            - cp.multiply(self.still_lost_least_kw, started)
            - self.under_kw,
            **_fuel_rows(g, self.fuel_per_h, self.generation_kw, self.on),
        }
        if g.permit_h_per_year is not None:
            self.constraints["runs within its permit hours"] = duration_h @ self.on <= self.permit_left_h
        self.budget = _Budget(g, duration_h, self.fuel_per_h)
        self.constraints |= self.budget.constraints
        self.ramp = _Ramp(g, self.generation_kw, _coming_up(self.start + starting), self.stop, self.under_kw) if _is_slow(g) else None
        if self.ramp is not None:
            self.constraints |= self.ramp.constraints

    def update(self, run: GeneratorRun, starts_s: Array, duration_h: Array, paid_h: Array, ordered_kw: Array | None = None) -> None:
        """Sets where the machine stands. What is measured is always feasible: rules it breaks already are stretched to it."""
        g, begin_h = self.generator, np.cumsum(duration_h) - duration_h
        may = availability(g, run, starts_s, duration_h) > 0.0
        down = np.zeros(len(begin_h), bool) if run.is_on else begin_h < g.min_down_h - run.since_h
        must = may & (begin_h < g.min_up_h - run.since_h) if run.is_on else np.zeros(len(begin_h), bool)
        must = np.logical_and.accumulate(must)
        share = np.minimum(1.0, g.start_s / 3600.0 / duration_h)
        success = 1.0 - g.start_failure
        self.on_now.value, self.paid_h.value = float(run.is_on), paid_h
        self.may_on.value, self.must_on.value = (may & ~down).astype(float), must.astype(float)
        self.most_kw.value = np.full(len(begin_h), g.power_kw * min(1.0, max(run.available, 0.0)))
        self.least_kw.value = np.minimum(g.min_power_kw, self.most_kw.value)
        self.lost_kw.value = self.most_kw.value * (1.0 - (1.0 - share) * success)
        self.lost_least_kw.value = self.least_kw.value * (1.0 - (1.0 - share) * success)
        left_h = np.maximum(0.0, g.start_s / 3600.0 - np.r_[0.0, duration_h[:-1]])
        still = np.minimum(1.0, left_h / duration_h)
        self.still_lost_kw.value, self.still_lost_least_kw.value = self.most_kw.value * still, self.least_kw.value * still
        if run.is_on and run.generation_kw < g.min_power_kw:  # still starting
            self.least_kw.value = np.where(begin_h < g.start_s / 3600.0 + ROUNDING_H, 0.0, self.least_kw.value)
        self.permit_left_h.value = max(min(run.permit_left_h, HOURS_PER_YEAR), float(must @ duration_h))
        self.budget.update(run, float(must @ duration_h) * g.burns_per_h(g.min_power_kw))
        if self.ramp is not None:
            is_starting = run.is_on and run.generation_kw < g.min_power_kw
            coming = 1 + int(np.argmax(self.least_kw.value > 0.0)) if is_starting else 0
            self.ramp.update(run.generation_kw, self.most_kw.value * self.may_on.value, duration_h, coming)


class BaseloadBlock:
    """A machine that runs whenever it can. Its outages are known numbers, so it needs no binaries."""

    def __init__(self, generator: Generator, duration_h: cp.Parameter) -> None:
        n, g = duration_h.size, generator
        self.generator = g
        self.generation_kw, self.fuel_per_h = cp.Variable(n, nonneg=True), cp.Variable(n, nonneg=True)
        self.under_kw = cp.Variable(n, nonneg=True)
        self.running = cp.Parameter(n, nonneg=True)
        self.least_kw, self.most_kw = cp.Parameter(n, nonneg=True), cp.Parameter(n, nonneg=True)
        self.power_kw = -self.generation_kw
        self.paid_h = cp.Parameter(n, nonneg=True)  # of each step, what lies before the accounts close
        self.cost = _running_cost(g, self.paid_h, self.fuel_per_h, self.generation_kw)
        self.cost = self.cost + UNDER_PRICE_PER_KWH * (duration_h @ self.under_kw)
        zero = cp.Constant(np.zeros(n))
        self.ramp = _Ramp(g, self.generation_kw, zero, zero, self.under_kw)
        self.constraints: dict[str, cp.Constraint] = {
            "at most what it can give": self.generation_kw <= self.most_kw,
            "must run": self.generation_kw >= self.least_kw - self.under_kw,
            **_fuel_rows(g, self.fuel_per_h, self.generation_kw, self.running),
            **self.ramp.constraints,
        }

    def update(self, run: GeneratorRun, starts_s: Array, duration_h: Array, paid_h: Array, ordered_kw: Array | None = None) -> None:
        """Sets bounds around announced outages, a fault and a start; what its ramp cannot reach from here is not asked of it."""
        g = self.generator
        share = availability(g, run, starts_s, duration_h)
        most = g.power_kw * min(1.0, max(run.available, 0.0)) * share
        rise, fall = self.ramp.allowed(run.generation_kw, most, duration_h)
        reached, least = run.generation_kw, np.zeros(len(most))
        for k in range(len(most)):
            reached = min(reached + rise[k], g.min_power_kw * share[k], most[k])
            least[k] = reached
        self.running.value, self.paid_h.value = share, paid_h
        self.most_kw.value, self.least_kw.value = most, least
        self.ramp.rise_kw.value, self.ramp.fall_kw.value = rise, fall
        self.ramp.now_kw.value = run.generation_kw


class EmergencyBlock:
    """A machine that is never started for money: a row of numbers, no decision. What an order makes it give, or what it gives now."""

    def __init__(self, generator: Generator, duration_h: cp.Parameter) -> None:
        self.generator = generator
        self.generation_kw = cp.Parameter(duration_h.size, nonneg=True)
        self.money = cp.Parameter()
        self.power_kw = -self.generation_kw
        self.cost: cp.Expression = self.money + 0.0
        self.constraints: dict[str, cp.Constraint] = {}

    def update(self, run: GeneratorRun, starts_s: Array, duration_h: Array, paid_h: Array, ordered_kw: Array | None = None) -> None:
        """Sets what it will give whatever the plan is; its fuel is a cost that no decision changes."""
        g = self.generator
        ordered = np.zeros(len(duration_h)) if ordered_kw is None else ordered_kw
        able = availability(g, run, starts_s, duration_h) * g.power_kw * min(1.0, max(run.available, 0.0))
        self.generation_kw.value = np.minimum(ordered, able)
        self.money.value = fuel_money(g, self.generation_kw.value, paid_h)


GeneratorBlock = UnitBlock | BaseloadBlock | EmergencyBlock


def generator_block(generator: Generator, duration_h: cp.Parameter, window: Window) -> GeneratorBlock:
    """The block of a machine's duty."""
    if generator.duty == Duty.PERMITTED:
        return UnitBlock(generator, duration_h, window)
    return BaseloadBlock(generator, duration_h) if generator.is_baseload else EmergencyBlock(generator, duration_h)


def availability(generator: Generator, run: GeneratorRun, starts_s: Array, duration_h: Array) -> Array:
    """Per step, 1 where the machine can run through it; 0 where an announced outage or a repair touches it, or, for a baseload machine,
    the start that follows (the plan of any other decides on its starts itself)."""
    ends_s = starts_s + duration_h * 3600.0
    start_s, start_left_h = (generator.start_s, run.start_left_h) if generator.is_baseload else (0.0, 0.0)
    can = starts_s - starts_s[0] >= (run.blocked_h + start_left_h) * 3600.0 - 1.0
    for start, end in zip(generator.outage_start_s, generator.outage_end_s, strict=True):
        if end > starts_s[0]:  # after one that is over the machine itself says how far its start is
            can &= (ends_s <= start) | (starts_s >= end + start_s)
    return can.astype(float)


def fuel_money(generator: Generator, generation_kw: Array, paid_h: Array) -> float:
    """Fuel and maintenance of given mean powers; nothing burns where nothing is given."""
    burnt = np.array([generator.burns_per_h(kw) if kw > 0.0 else 0.0 for kw in generation_kw.tolist()])
    return float(paid_h @ (generator.fuel_price * burnt + generator.maintenance_price_per_kwh * generation_kw))


class _Ramp:
    """Step means may differ by at most what the ramp covers between their middles; a start brings the minimum load, a stop takes
    all. What a machine gives less than it must it need not reach by its ramp."""

    def __init__(
        self, generator: Generator, generation_kw: cp.Expression, start: cp.Expression, stop: cp.Expression, under_kw: cp.Expression
    ) -> None:
        n, g = generation_kw.size, generator
        self.generator = g
        self.now_kw = cp.Parameter(nonneg=True)
        self.rise_kw, self.fall_kw = cp.Parameter(n, nonneg=True), cp.Parameter(n, nonneg=True)
        before = cp.hstack([self.now_kw, generation_kw[:-1]])
        self.constraints: dict[str, cp.Constraint] = {
            "rises within its ramp": generation_kw - before <= self.rise_kw + g.min_power_kw * start,
            "falls within its ramp": before - generation_kw <= self.fall_kw + g.power_kw * stop + under_kw,
        }

    def update(self, now_kw: float, most_kw: Array, duration_h: Array, coming: int) -> None:
        """Sets the measured power and what the ramp allows; in `coming` steps a start may still bring the minimum load."""
        rise, fall = self.allowed(now_kw, most_kw, duration_h)
        rise[:coming] += self.generator.min_power_kw
        self.now_kw.value, self.rise_kw.value, self.fall_kw.value = now_kw, rise, fall

    def allowed(self, now_kw: float, most_kw: Array, duration_h: Array) -> tuple[Array, Array]:
        """kW by which each step mean may rise and fall. Where the machine must go off (or has) it falls by all it may still give; where it
        comes back it begins at its minimum load."""
        g = self.generator
        span_s = 1800.0 * (duration_h + np.r_[0.0, duration_h[:-1]])
        rise = g.ramp_kw_per_s * span_s
        fall = rise.copy()
        before = np.r_[now_kw, most_kw[:-1]]
        gone = most_kw < before - 1e-9
        fall[gone] = np.maximum(fall[gone], before[gone] - most_kw[gone])
        back = (np.r_[most_kw[:1] if now_kw > 0.0 else [0.0], most_kw[:-1]] <= 0.0) & (most_kw > 0.0)
        rise[back] += g.min_power_kw
        rise[0] = max(rise[0], g.min_power_kw - now_kw)
        return rise, fall


class _Budget:
    """What may still be emitted this year."""

    def __init__(self, generator: Generator, duration_h: cp.Parameter, fuel_per_h: cp.Expression) -> None:
        self.generator = generator
        self.left_fuel = cp.Parameter(nonneg=True)
        self.constraints: dict[str, cp.Constraint] = {}
        if generator.emission_kg_per_year is not None and generator.emission_kg_per_fuel > 0.0:
            self.constraints["emits within its budget"] = duration_h @ fuel_per_h <= self.left_fuel

    def update(self, run: GeneratorRun, committed_fuel: float) -> None:
        """Sets the budget as fuel; what the minimum up time commits already is always allowed."""
        per_fuel = max(self.generator.emission_kg_per_fuel, 1e-9)
        self.left_fuel.value = max(min(run.emission_left_kg / per_fuel, 1e9), committed_fuel)


def _running_cost(g: Generator, paid_h: cp.Parameter, fuel_per_h: cp.Expression, generation_kw: cp.Expression) -> cp.Expression:
    return g.fuel_price * (paid_h @ fuel_per_h) + g.maintenance_price_per_kwh * (paid_h @ generation_kw)


def _fuel_rows(g: Generator, fuel_per_h: cp.Expression, generation_kw: cp.Expression, on: cp.Expression) -> dict[str, cp.Constraint]:
    return {
        f"burns what line {i + 1} of its fuel curve says": fuel_per_h >= slope * generation_kw + idle * on
        for i, (slope, idle) in enumerate(g.segments)
    }


def _sums(change: cp.Variable, window: Window, lag_h: float) -> cp.Expression:
    """Per step, the changes within the lag before it, its own included."""
    n = change.size
    rows = np.zeros((n, n))
    for t in range(n):
        rows[t, min(window(t, lag_h), t) : t + 1] = 1.0
    return cp.Constant(sp.csr_matrix(rows)) @ change


def _starting(start: cp.Variable, window: Window, start_h: float) -> cp.Expression:
    """Per step, starts two or more steps before that may not have reached load when it begins."""
    n = start.size
    rows = np.zeros((n, n))
    for t in range(n):
        rows[t, min(window(t, start_h), t) : max(0, t - 1)] = 1.0
    return cp.Constant(sp.csr_matrix(rows)) @ start


def _coming_up(starting: cp.Expression) -> cp.Expression:
    """Steps in which a start, now or in the step before, may bring the minimum load at once."""
    return starting + cp.hstack([0.0, starting[:-1]])


def _is_slow(g: Generator) -> bool:
    return g.ramp_kw_per_s * FAST_RISE_S < g.power_kw
