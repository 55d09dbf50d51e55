"""Branches: other courses of the load after a common first hour, each answered by its own use of storage and of work that can wait.

Every decision of the short first steps is common to all courses. After them the plan is the median's, and a branch deviates from it: its
load lies higher, the stores move otherwise (as one, in deliverable kWh), the work with the nearest deadline waits otherwise (as one queue).
What a branch costs beyond the median's course counts with its probability, the billing peaks it reaches included: so the plan pays today
for the room that a higher load would need tomorrow. Work that a branch holds back waits in proportion to its power, also
where its class slows along a curve: a branch asks for no less room than it would need.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

from ems.assets.battery.block import BatteryBlock
from ems.assets.battery.model import Battery
from ems.assets.ups.model import Ups
from ems.assets.workload.block import DeferrableBlock, planned_deadline_h
from ems.plan.blocks import SiteBlocks, StoreBlock
from ems.plan.commitments import BillingIntervals, PeakTerm
from ems.timegrid import FINE_STEPS, TimeGrid

Array = NDArray[np.float64]
FIRST_STAGE = FINE_STEPS + 1  # steps whose decisions every branch shares
OVER_LIMIT_PER_KWH = 0.2  # as a shortfall of headroom
LEAST_ROOM_KWH = 1e-6  # floor and ceiling stand so far from what the stores hold


@dataclass(frozen=True)
class BranchValues:
    """What one branch is set from; one value per step of the horizon unless said otherwise."""

    probability: float
    extra_kw: Array  # import above the median's
    arriving_kw: Array  # kW of IT of the class that may wait
    limit_kw: Array
    price: Array  # money per kW of import held through the step
    paid_h: Array
    stored_value: float  # per deliverable kWh left at the end
    recovery_price: float
    most_backlog_kwh: Array  # N + 1
    kept_kwh: Array  # deliverable energy that must stay in the stores


class Branch:
    """One course of the load. Its variables have one value per step after the first stage; energies and work waiting one more."""

    def __init__(
        self,
        blocks: SiteBlocks,
        import_kw: cp.Expression,
        peaks: Sequence[PeakTerm],
        duration_h: cp.Parameter,
        grid: TimeGrid,
        checkpoints: Sequence[int],
        gain: float,
        intervals: BillingIntervals,
    ) -> None:
        self.n = n = grid.n - FIRST_STAGE
        self.stores, self.peaks, self.gain = list(blocks.stores.values()), list(peaks), gain
        self.waiting, self.deadline_h = nearest_due(blocks)
        self.import_kw = cp.Variable(n)
        self.charge_kw, self.discharge_kw = cp.Variable(n, nonneg=True), cp.Variable(n, nonneg=True)
        self.stored_kwh = cp.Variable(n + 1)
        self.defer_kw, self.recover_kw, self.drop_kwh = (cp.Variable(n, nonneg=True) for _ in range(3))
        self.backlog_kwh, self.deferred_kwh = cp.Variable(n + 1, nonneg=True), cp.Variable(n + 1, nonneg=True)
        self.over_kw = cp.Variable(n, nonneg=True)
        self.reach_kw = [cp.Variable() for _ in peaks]
        self.above_kw = [cp.Variable(nonneg=True) for _ in peaks]
        self.extra_kw, self.limit_kw, self.price = cp.Parameter(n), cp.Parameter(n), cp.Parameter(n)
        self.arriving_kw, self.paid_h = cp.Parameter(n, nonneg=True), cp.Parameter(n, nonneg=True)
        self.floor_kwh, self.ceiling_kwh = cp.Parameter(n + 1), cp.Parameter(n + 1)
        self.most_charge_kw, self.most_discharge_kw = cp.Parameter(n, nonneg=True), cp.Parameter(n, nonneg=True)
        self.most_backlog_kwh = cp.Parameter(n + 1, nonneg=True)
        self.stored_value, self.recovery_price, self.drop_price = (cp.Parameter(nonneg=True) for _ in range(3))
        self.peak_price = [cp.Parameter(nonneg=True) for _ in peaks]
        self.constraints = {
            **self._power(import_kw),
            **self._storage(duration_h),
            **self._work(duration_h, grid, checkpoints),
            **self._peaks(intervals),
        }
        self.cost = self._cost(import_kw)

    def _power(self, import_kw: cp.Expression) -> dict[str, cp.Constraint]:
        """The median's import, with this branch's load, storage and deferral instead of the median's."""
        own_kw = self.charge_kw - self.discharge_kw - self.gain * (self.defer_kw - self.recover_kw)
        return {
            "import": self.import_kw == import_kw[FIRST_STAGE:] + self.extra_kw + own_kw - self._median_kw(),
            "stays below the import limit": self.import_kw <= self.limit_kw + self.over_kw,
        }

    def _storage(self, duration_h: cp.Parameter) -> dict[str, cp.Constraint]:
        hours = duration_h[FIRST_STAGE:]
        moved = cp.multiply(hours, round_trip(self.stores) * self.charge_kw - self.discharge_kw)
        return {
            "begins with what is stored": self.stored_kwh[0] == self._median_stored_kwh(FIRST_STAGE),
            "energy balance": self.stored_kwh[1:] == self.stored_kwh[:-1] + moved,
            "stays above the floor": self.stored_kwh >= self.floor_kwh,
            "stays below the ceiling": self.stored_kwh <= self.ceiling_kwh,
            "charges within the ratings": self.charge_kw <= self.most_charge_kw,
            "discharges within the ratings": self.discharge_kw <= self.most_discharge_kw,
        }

    def _work(self, duration_h: cp.Parameter, grid: TimeGrid, checkpoints: Sequence[int]) -> dict[str, cp.Constraint]:
        hours = duration_h[FIRST_STAGE:]
        first_kwh = sum((b.backlog_kwh[FIRST_STAGE] for b in self.waiting), start=cp.Constant(0.0))
        waited = cp.multiply(hours, self.defer_kw - self.recover_kw)
        rules = {
            "begins with what waits": self.backlog_kwh[0] == first_kwh,
            "counts it as deferred": self.deferred_kwh[0] == first_kwh,
            "backlog balance": self.backlog_kwh[1:] == self.backlog_kwh[:-1] + waited - self.drop_kwh,
            "deferred work adds up": self.deferred_kwh[1:] == self.deferred_kwh[:-1] + cp.multiply(hours, self.defer_kw),
            "defers at most what arrives": self.defer_kw <= self.arriving_kw,
            "nothing waits when the accounts close": self.backlog_kwh <= self.most_backlog_kwh,
        }
        due = [(k, grid.boundary_after_lag(k, self.deadline_h)) for k in checkpoints]
        due = [(k - FIRST_STAGE, a - FIRST_STAGE) for k, a in due if a > FIRST_STAGE]
        if due:
            late, alive = ([pair[i] for pair in due] for i in (0, 1))
            rules["recovered by the deadline"] = self.backlog_kwh[late] <= self.deferred_kwh[late] - self.deferred_kwh[alive]
        return rules

    def _peaks(self, intervals: BillingIntervals) -> dict[str, cp.Constraint]:
        rules: dict[str, cp.Constraint] = {}
        for number, (peak, reach, above) in enumerate(zip(self.peaks, self.reach_kw, self.above_kw, strict=True)):
            lift = peak.lift_direct_kw
            rules |= {
                f"peak {number}: covers the first stage": reach >= intervals.averaged_kw - peak.lift_averaged_kw,
                f"peak {number}: covers the later steps": reach >= self.import_kw[self.n - lift.size :] - lift,
                f"peak {number}: counts what is above the baseline": above >= reach - peak.baseline_kw,
            }
        return rules

    def _cost(self, import_kw: cp.Expression) -> cp.Expression:
        """Its expected cost beyond the median's; every price holds the probability already."""
        wear, defer_price = self._prices()
        moved = sum((b.charge_kw + b.discharge_kw for b in self.stores), start=cp.Constant(np.zeros(self.n + FIRST_STAGE)))
        waited = sum((b.put_off_kw for b in self.waiting), start=cp.Constant(np.zeros(self.n + FIRST_STAGE)))
        used = wear * (self.charge_kw + self.discharge_kw - moved[FIRST_STAGE:]) + defer_price * (self.defer_kw - waited[FIRST_STAGE:])
        peaks = sum((price * above for price, above in zip(self.peak_price, self.above_kw, strict=True)), start=cp.Constant(0.0))
        return (
            self.price @ (self.import_kw - import_kw[FIRST_STAGE:])
            + self.paid_h @ (used + OVER_LIMIT_PER_KWH * self.over_kw)
            + self.drop_price * cp.sum(self.drop_kwh)
            + self.recovery_price * self.backlog_kwh[self.n]
            - self.stored_value * (self.stored_kwh[self.n] - self._median_stored_kwh(self.n + FIRST_STAGE))
            + peaks
        )

    def _prices(self) -> tuple[float, float]:
        """Wear per kWh moved, the least of any store, and what deferring a kWh costs."""
        wear = min((ratings(b).wear_price_per_kwh for b in self.stores), default=0.0)
        return wear, min((b.kind.defer_price_per_kwh or 0.0 for b in self.waiting), default=0.0)

    def _median_kw(self) -> cp.Expression:
        zero = cp.Constant(np.zeros(self.n))
        stored = sum((b.charge_kw[FIRST_STAGE:] - b.discharge_kw[FIRST_STAGE:] for b in self.stores), start=zero)
        return stored - self.gain * sum((b.defer_kw[FIRST_STAGE:] - b.recover_kw[FIRST_STAGE:] for b in self.waiting), start=zero)

    def _median_stored_kwh(self, boundary: int) -> cp.Expression:
        return sum((ratings(b).discharge_efficiency * b.energy_kwh[boundary] for b in self.stores), start=cp.Constant(0.0))

    def update(self, v: BranchValues) -> None:
        """Sets every Parameter; the blocks and peaks must have been updated before."""
        later, p = slice(FIRST_STAGE, None), v.probability
        zero = np.zeros(self.n)
        self.extra_kw.value, self.arriving_kw.value, self.limit_kw.value = v.extra_kw[later], v.arriving_kw[later], v.limit_kw[later]
        kept_kwh = np.broadcast_to(v.kept_kwh, len(v.price))[FIRST_STAGE - 1 :]
        self.floor_kwh.value = np.minimum.accumulate(kept_kwh) - LEAST_ROOM_KWH
        full = sum((ratings(b).discharge_efficiency * full_kwh(b) for b in self.stores), start=np.zeros(len(v.price) + 1))
        self.ceiling_kwh.value = full[later] + LEAST_ROOM_KWH
        self.most_charge_kw.value = sum((np.asarray(b.max_charge_kw.value)[later] for b in self.stores), start=zero)
        self.most_discharge_kw.value = sum((np.asarray(b.max_discharge_kw.value)[later] for b in self.stores), start=zero)
        self.most_backlog_kwh.value = v.most_backlog_kwh[later]
        self.price.value, self.paid_h.value = p * v.price[later], p * v.paid_h[later]
        self.stored_value.value, self.recovery_price.value = p * v.stored_value, p * v.recovery_price
        self.drop_price.value = p * min((drop_price(b) for b in self.waiting), default=0.0)
        for price, peak in zip(self.peak_price, self.peaks, strict=True):
            price.value = p * peak.full_price


def nearest_due(blocks: SiteBlocks) -> tuple[list[DeferrableBlock], float]:
    """The deferrable work with the shortest planned deadline, over all clusters, and that deadline in hours."""
    waiting = [b for c in blocks.clusters.values() for b in c.deferrable.values()]
    shortest_h = min((planned_deadline_h(b.kind) for b in waiting), default=0.0)
    return [b for b in waiting if planned_deadline_h(b.kind) == shortest_h], shortest_h


def ratings(block: StoreBlock) -> Battery | Ups:
    """The store behind a block."""
    return block.battery if isinstance(block, BatteryBlock) else block.ups


def round_trip(stores: Sequence[StoreBlock]) -> float:
    """Deliverable kWh per kWh charged, of the worst store."""
    return min((ratings(b).charge_efficiency * ratings(b).discharge_efficiency for b in stores), default=1.0)


def full_kwh(block: StoreBlock) -> Array:
    """The most a store may hold, per boundary, as its block holds it now."""
    if isinstance(block, BatteryBlock):
        return np.asarray(block.ceiling_kwh.value)
    return np.full(block.energy_kwh.size, block.ups.energy_kwh)


def drop_price(block: DeferrableBlock) -> float:
    """What losing a kWh of a class costs; a class without a price is never lost."""
    return 100.0 if block.kind.drop_price_per_kwh is None else block.kind.drop_price_per_kwh
