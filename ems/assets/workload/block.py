"""How an IT cluster enters the plan: work served, deferred, recovered, dropped and throttled, per class.

Deferred work is a FIFO queue, so its deadlines are exact in cumulative form: what is still in the backlog at a boundary is at most
what was deferred within the last `deadline_h` hours, plus what was measured in the backlog and is not due yet. The rule stands at
coarse checkpoints only, on a running total of deferred energy: never a long sum in every step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

from ems.assets.workload.curve import Point, cut_pieces
from ems.assets.workload.model import DUE_HOURS, NO_PAST, ClassState, Cluster, TierPast, WorkloadClass

Array = NDArray[np.float64]
MOST_BACKLOG_KWH = 1e7  # no bound
# Of a tier the plan aims at, since its rule stands at checkpoints and on a forecast: in five replayed hours a tier of 25 % in two hours was
# used to 106 % in the worst window with 1, to 99 % with 0.9, for the same money.
TIER_AIM = 0.9
TIER_PRICE_PER_KWH = 23.0  # just under a breach of the import limit; only a billing peak of minutes is dearer
NEVER_PER_KWH = 100.0  # price of losing work that has no price of its own: dearer than any throttling
# Deferred work is planned to be back this much early, at most a quarter of its deadline: else a load that stays higher than foreseen turns
# it into dropped work (two replayed weeks: 262 and 493 kWh dropped with 0.25 h, 57 and 50 with 2 h, 49 and 52 with 3.5 h).
# In four weeks under a demand charge (tests/benchmarks/uncertainty.md) 1 h costs 474 USD more in all, 3 of 8 h 178 more.
DEADLINE_MARGIN_H = 2.0


class DeferrableBlock:
    """One class whose work can wait: N powers, N+1 energies. `deferred_kwh` is the running total since the start of the plan.

    `defer_kw` is the power held back, `put_off_kw` the work that then waits: less of it where the class slows along a curve.
    """

    def __init__(self, kind: WorkloadClass, duration_h: cp.Parameter, checkpoints: Sequence[int], first_alive: Sequence[int]) -> None:
        n = duration_h.size
        self.kind = kind
        self.defer_kw = cp.Variable(n, nonneg=True)
        self.recover_kw = cp.Variable(n, nonneg=True)
        self.slowed = SlowedWork(kind.throughput_by_power, self.defer_kw) if kind.throughput_by_power else None
        self.put_off_kw: cp.Expression = self.defer_kw if self.slowed is None else self.slowed.lost_kw
        self.drop_kwh = cp.Variable(n, nonneg=True)
        self.backlog_kwh = cp.Variable(n + 1, nonneg=True)
        self.deferred_kwh = cp.Variable(n + 1, nonneg=True)
        self.demand_kw = cp.Parameter(n, nonneg=True)
        self.backlog_now_kwh = cp.Parameter(nonneg=True)
        self.not_due_kwh = cp.Parameter(len(checkpoints), nonneg=True)
        self.recovery_price_per_kwh = cp.Parameter(nonneg=True)
        self.waiting_price_per_kwh = cp.Parameter(n, nonneg=True)
        self.most_backlog_kwh = cp.Parameter(n + 1, nonneg=True)
        self.checkpoints = list(checkpoints)
        waited = cp.multiply(duration_h, self.put_off_kw - self.recover_kw)
        drop_price = kind.drop_price_per_kwh if kind.drop_price_per_kwh is not None else NEVER_PER_KWH
        self.cost = (
            (kind.defer_price_per_kwh or 0.0) * (duration_h @ self.put_off_kw)
            + drop_price * cp.sum(self.drop_kwh)
            + self.waiting_price_per_kwh @ self.backlog_kwh[1:]
            + self.recovery_price_per_kwh * self.backlog_kwh[n]
        )
        alive_kwh = self.deferred_kwh[self.checkpoints] - self.deferred_kwh[list(first_alive)]
        self.constraints = {
            "starts at the measured backlog": self.backlog_kwh[0] == self.backlog_now_kwh,
            "backlog balance": self.backlog_kwh[1:] == self.backlog_kwh[:-1] + waited - self.drop_kwh,
            "nothing deferred before now": self.deferred_kwh[0] == 0,
            "deferred work adds up": self.deferred_kwh[1:] == self.deferred_kwh[:-1] + cp.multiply(duration_h, self.put_off_kw),
            "nothing waits when the accounts close": self.backlog_kwh <= self.most_backlog_kwh,
            "defers at most what arrives": self.defer_kw <= self.demand_kw,
            "recovered by the deadline": self.backlog_kwh[self.checkpoints] <= self.not_due_kwh + alive_kwh,
            **({} if self.slowed is None else self.slowed.constraints),
        }

    def update(
        self,
        demand_kw: Array,
        state: ClassState | None,
        boundaries_h: Array,
        recovery_price_per_kwh: float,
        waiting_price_per_kwh: Array,
        settle_h: float,
    ) -> None:
        """Sets demand, measured backlog with its due profile, what a kWh still waiting at the end will cost to recover and what waiting
        costs in each step. `settle_h` hours from now nothing may wait any more."""
        backlog_kwh = max(0.0, state.backlog_kwh) if state is not None else 0.0
        due_kwh = state.due_kwh if state is not None else tuple(0.0 for _ in DUE_HOURS)
        self.demand_kw.value = demand_kw
        if self.slowed is not None:
            self.slowed.update(demand_kw)
        self.backlog_now_kwh.value = backlog_kwh
        self.not_due_kwh.value = not_due_kwh(backlog_kwh, due_kwh, boundaries_h[self.checkpoints] + deadline_margin_h(self.kind))
        self.recovery_price_per_kwh.value = max(0.0, recovery_price_per_kwh)
        self.waiting_price_per_kwh.value = waiting_price_per_kwh
        is_closed = (boundaries_h >= settle_h - 1e-9) & (boundaries_h > 0.0)
        self.most_backlog_kwh.value = np.where(is_closed, 0.0, MOST_BACKLOG_KWH)


def not_due_kwh(backlog_kwh: float, due_kwh: Sequence[float], after_h: Array) -> Array:
    """Measured backlog not yet due some hours ahead; linear between DUE_HOURS, nothing beyond the last."""
    due = np.interp(after_h, (0.0, *DUE_HOURS), (0.0, *due_kwh))
    due = np.where(after_h >= DUE_HOURS[-1], backlog_kwh, due)
    return np.asarray(np.clip(backlog_kwh - due, 0.0, backlog_kwh))


def planned_deadline_h(kind: WorkloadClass) -> float:
    """Hours within which the plan brings deferred work back: the deadline less a margin."""
    return (kind.deadline_h or 0.0) - deadline_margin_h(kind)


def deadline_margin_h(kind: WorkloadClass) -> float:
    """How much early the plan brings deferred work back."""
    return min(DEADLINE_MARGIN_H, 0.25 * (kind.deadline_h or 0.0))


class TierRule:
    """At most `tier_loss` of what arrives within any `tier_window_h` hours is missing at their end, however it is held back. Stands at the
    checkpoints, on a running total; windows begin at boundaries of the plan, the ones just before and just after. Soft: a limit or an
    order comes first."""

    def __init__(self, kind: WorkloadClass, held_kw: cp.Expression, duration_h: cp.Parameter, windows: Sequence[tuple[int, int]]) -> None:
        n = duration_h.size
        self.kind, self.first, self.last = kind, [a for a, _ in windows], [b for _, b in windows]
        self.held_kwh = cp.Variable(n + 1)
        self.beyond_kwh = cp.Variable(nonneg=True)  # in the worst window
        self.allowed_kwh = cp.Parameter(len(windows), nonneg=True)
        self.cost: cp.Expression = TIER_PRICE_PER_KWH * self.beyond_kwh
        self.constraints: dict[str, cp.Constraint] = {
            "nothing held back before now": self.held_kwh[0] == 0,
            "what is held back adds up": self.held_kwh[1:] == self.held_kwh[:-1] + cp.multiply(duration_h, held_kw),
            "loses no more than its tier allows": self.held_kwh[self.last] - self.held_kwh[self.first]
            <= self.allowed_kwh + self.beyond_kwh,
        }

    def update(self, arriving_kw: Array, boundaries_h: Array, past: TierPast) -> None:
        """Sets what each window leaves, in kWh; what was lost beyond it before now cannot be brought back, then it leaves nothing."""
        arrived = np.r_[0.0, np.cumsum(arriving_kw * np.diff(boundaries_h))]
        before_h = np.maximum(0.0, self.kind.tier_window_h - boundaries_h[self.last])
        whole = arrived[self.last] - arrived[self.first] + np.interp(before_h, past.hours, past.arrived_kwh)
        left = TIER_AIM * (self.kind.tier_loss or 0.0) * whole - np.interp(before_h, past.hours, past.held_kwh)
        self.allowed_kwh.value = np.maximum(left, 0.0)


class ClusterBlock:
    """IT power = demand - deferred + recovered - throttled, within the rating. Work that slows along a curve keeps its machines: what is
    recovered beside it runs on those that stand free, at full speed. `boundary_after_lag(boundary, hours)` finds the
    boundary a deadline earlier, `boundary_before_lag` the one where a tier's window begins."""

    def __init__(
        self,
        cluster: Cluster,
        duration_h: cp.Parameter,
        checkpoints: Sequence[int],
        boundary_after_lag: Callable[[int, float], int],
        boundary_before_lag: Callable[[int, float], int],
    ) -> None:
        n = duration_h.size
        self.cluster = cluster
        self.power_kw = cp.Variable(n, nonneg=True)
        self.demand_kw = cp.Parameter(n, nonneg=True)
        self.deferrable = {
            name: DeferrableBlock(kind, duration_h, checkpoints, [boundary_after_lag(k, planned_deadline_h(kind)) for k in checkpoints])
            for name, kind in cluster.classes.items()
            if kind.defer_price_per_kwh is not None and kind.deadline_h is not None
        }
        throttled = {name: k for name, k in cluster.classes.items() if k.throttle_price_per_kwh is not None}
        self.throttle_kw = {name: cp.Variable(n, nonneg=True) for name in throttled}
        self.throttleable_kw = {name: cp.Parameter(n, nonneg=True) for name in throttled}
        self.slowed = {
            name: SlowedWork(k.throughput_by_power, self.throttle_kw[name]) for name, k in throttled.items() if k.throughput_by_power
        }
        self.throttled_work_kw: dict[str, cp.Expression] = {
            name: self.slowed[name].lost_kw if name in self.slowed else kw for name, kw in self.throttle_kw.items()
        }
        curved = [b.recover_kw for b in self.deferrable.values() if b.slowed is not None]
        self.free_kw = cp.Parameter(n, nonneg=True) if curved else None
        waiting_kw = sum((b.defer_kw - b.recover_kw for b in self.deferrable.values()), start=cp.Constant(np.zeros(n)))
        lost_kw = sum(self.throttle_kw.values(), start=cp.Constant(np.zeros(n)))
        self.tiers = {
            name: TierRule(
                k,
                self._held_kw(name, n),
                duration_h,
                [
                    (a, b)
                    for b in checkpoints
                    for a in sorted({boundary_before_lag(b, k.tier_window_h), boundary_after_lag(b, k.tier_window_h)})
                ],
            )
            for name, k in cluster.classes.items()
            if k.tier_loss is not None
        }
        self.cost = sum((b.cost for b in self.deferrable.values()), start=cp.Constant(0.0)) + sum(
            (k.throttle_price_per_kwh * (duration_h @ self.throttled_work_kw[name]) for name, k in throttled.items()),
            start=cp.Constant(0.0),
        )
        self.cost = sum((rule.cost for rule in self.tiers.values()), start=self.cost)
        self.constraints = {
            "serves what is not held back": self.power_kw == self.demand_kw - waiting_kw - lost_kw,
            "stays within the rating": self.power_kw <= cluster.rating_kw,
            **{f"{name}: throttles at most what arrives": self.throttle_kw[name] <= self.throttleable_kw[name] for name in throttled},
            **{f"{name}: {rule}": c for name, b in self.deferrable.items() for rule, c in b.constraints.items()},
            **{f"{name}: {rule}": c for name, b in self.tiers.items() for rule, c in b.constraints.items()},
            **{f"{name}: {rule}": c for name, b in self.slowed.items() for rule, c in b.constraints.items()},
            **({} if self.free_kw is None else {"recovers on machines that stand free": sum(curved[1:], start=curved[0]) <= self.free_kw}),
        }

    def _held_kw(self, name: str, n: int) -> cp.Expression:
        """Work a class does not do of what arrives, less what it makes up."""
        waiting = self.deferrable.get(name)
        throttled = self.throttled_work_kw.get(name, cp.Constant(np.zeros(n)))
        return throttled if waiting is None else throttled + waiting.put_off_kw - waiting.recover_kw

    @property
    def slowed_work(self) -> list[SlowedWork]:
        """Every class that slows along a curve."""
        return [*self.slowed.values(), *(b.slowed for b in self.deferrable.values() if b.slowed is not None)]

    def update(
        self,
        demand_kw: Array,
        backlog: Mapping[str, ClassState],
        boundaries_h: Array,
        recovery_price_per_kwh: float,
        waiting_price_per_kwh: Array,
        settle_h: float,
        tier_past: Mapping[str, TierPast] | None = None,
    ) -> None:
        """Sets the demand of the cluster (split by class shares above idle), the measured backlog and its prices, and what of each tier was
        used before now."""
        self.demand_kw.value = np.clip(demand_kw, self.cluster.idle_kw, self.cluster.rating_kw)
        dynamic_kw = self.demand_kw.value - self.cluster.idle_kw
        for name, parameter in self.throttleable_kw.items():
            parameter.value = self.cluster.classes[name].share * dynamic_kw
        for name, slowed in self.slowed.items():
            slowed.update(self.cluster.classes[name].share * dynamic_kw)
        if self.free_kw is not None:
            self.free_kw.value = self.cluster.rating_kw - self.demand_kw.value
        for name, block in self.deferrable.items():
            share_kw = self.cluster.classes[name].share * dynamic_kw
            block.update(share_kw, backlog.get(name), boundaries_h, recovery_price_per_kwh, waiting_price_per_kwh, settle_h)
        for name, rule in self.tiers.items():
            rule.update(self.cluster.classes[name].share * dynamic_kw, boundaries_h, (tier_past or {}).get(name, NO_PAST))


class SlowedWork:
    """The work lost by a cut of some power, in kW at full speed: convex in the cut, so that a plan takes the cheap parts first.

    One variable per part, N values. Where losing work would pay (prices far below zero), parts may be taken out of order; the planner
    closes those (plan/directions.py).
    """

    def __init__(self, points: Sequence[Point], cut_kw: cp.Variable) -> None:
        n, pieces = cut_kw.size, cut_pieces(points)
        self.widths = [width for width, _ in pieces]
        self.slopes = [slope for _, slope in pieces]
        self.part_kw = [cp.Variable(n, nonneg=True) for _ in pieces]
        self.most_kw = [cp.Parameter(n, nonneg=True) for _ in pieces]
        self.lost_kw: cp.Expression = sum(
            (slope * part for slope, part in zip(self.slopes[1:], self.part_kw[1:], strict=True)), start=self.slopes[0] * self.part_kw[0]
        )
        self.constraints: dict[str, cp.Constraint] = {"is cut in parts": cut_kw == sum(self.part_kw[1:], start=self.part_kw[0])}
        for k, (part, most) in enumerate(zip(self.part_kw, self.most_kw, strict=True)):
            self.constraints[f"slows along its curve ({k})"] = part <= most

    def update(self, arriving_kw: Array) -> None:
        """Sets how much of what arrives each part may take."""
        for width, most in zip(self.widths, self.most_kw, strict=True):
            most.value = width * np.maximum(arriving_kw, 0.0)
