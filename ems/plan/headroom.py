"""Headroom for the load the quantiles speak of: what is above the median must be coverable by storage and by work that can wait.

Two linear rows per step, soft: power (limit - import + what storage could add + what can still be deferred) and energy (what stands
above the reserve must last through the step, at most one hour of it). The energy row stands in kW: stored energy over the hours it
must last.
"""

from __future__ import annotations

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

from ems.assets.battery.block import BatteryBlock
from ems.plan.blocks import SiteBlocks, StoreBlock

Array = NDArray[np.float64]
SHORTFALL_PRICE_PER_KWH = 0.2  # between deferring (a few cents) and throttling (dollars), times the chance of needing it


class Headroom:
    """`extra_kw`: import above the median that must be coverable, per step; `gain` turns IT power that can be cut into import."""

    def __init__(
        self, blocks: SiteBlocks, import_kw: cp.Expression, limit_kw: cp.Expression, duration_h: cp.Parameter, gain: float
    ) -> None:
        n = duration_h.size
        self.extra_kw = cp.Parameter(n, nonneg=True)
        self.deferrable_kw = cp.Parameter(n, nonneg=True)  # import of classes that can wait, were they all served
        self.per_hold_h = cp.Parameter(n, nonneg=True)
        self.extra_and_kept_kw = cp.Parameter(n, nonneg=True)  # extra_kw + what the stores must keep over the hours it must last
        self.short_kw = cp.Variable(n, nonneg=True)
        self.short_of_energy_kw = cp.Variable(n, nonneg=True)
        zero = cp.Constant(np.zeros(n))
        waiting = [b for c in blocks.clusters.values() for b in c.deferrable.values()]
        served_kw = sum((b.recover_kw - b.defer_kw for b in waiting), start=zero)
        room_kw = sum((b.max_discharge_kw - b.discharge_kw + b.charge_kw for b in blocks.stores.values()), start=zero)
        stored_kwh = sum((_deliverable_kwh(b) for b in blocks.stores.values()), start=zero)
        spare_kw = limit_kw - import_kw + gain * served_kw + self.deferrable_kw
        self.cost = SHORTFALL_PRICE_PER_KWH * (duration_h @ (self.short_kw + self.short_of_energy_kw))
        self.constraints = {
            "power for the upper load quantile": spare_kw + room_kw + self.short_kw >= self.extra_kw,
            "energy for the upper load quantile": spare_kw + cp.multiply(self.per_hold_h, stored_kwh) + self.short_of_energy_kw
            >= self.extra_and_kept_kw,
        }

    def update(self, extra_kw: Array, deferrable_kw: Array, kept_kwh: Array, duration_h: Array) -> None:
        """Sets, per step, what the upper quantile adds and what could still be deferred (kW of import), and what the stores must keep."""
        self.extra_kw.value = extra_kw
        self.deferrable_kw.value = deferrable_kw
        self.per_hold_h.value = 1.0 / duration_h.clip(1 / 12, 1.0)
        self.extra_and_kept_kw.value = extra_kw + kept_kwh * self.per_hold_h.value


def kept_kwh(blocks: SiteBlocks) -> Array:
    """Deliverable energy per step that must stay in the stores: floors and reserves as the blocks hold them now."""
    kept = np.zeros(0)
    for block in blocks.stores.values():
        ratings, floor = (block.battery, block.floor_kwh) if isinstance(block, BatteryBlock) else (block.ups, block.reserve_kwh)
        below = ratings.discharge_efficiency * np.asarray(floor.value)[1:]
        kept = kept + below if len(kept) else below
    return np.maximum(kept, 0.0) if len(kept) else np.zeros(1)


def _deliverable_kwh(block: StoreBlock) -> cp.Expression:
    ratings = block.battery if isinstance(block, BatteryBlock) else block.ups
    return ratings.discharge_efficiency * block.energy_kwh[1:]
