"""Commitments as cost terms of the plan: `down_price @ power + spread @ above`, compiled once, prices and baselines as Parameters."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

from ems.commitment import Commitment, Per
from ems.timegrid import interval_columns, interval_rows

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
LEVEL_PRICE_PER_KWH = (
    0.02  # on import above the peak within an interval whose mean holds it: dearer than the gain of charging a little earlier
)
OUT_OF_GROUP_KW = 1e6  # an interval that does not belong to a peak's group is lifted out of its row by this


class Levelling:
    """Keeps the short steps of a billing interval at or below the peak its mean may reach: no battery swings between them for nothing."""

    def __init__(self, import_kw: cp.Expression, reach_kw: cp.Expression, columns: int, duration_h: cp.Parameter) -> None:
        self.above_kw = cp.Variable(columns, nonneg=True)
        self.cost = LEVEL_PRICE_PER_KWH * (duration_h[:columns] @ self.above_kw)
        self.constraints = {"counts what short steps stand above the peak": self.above_kw >= import_kw[:columns] - reach_kw}


class StepTerm:
    """A price per kWh and step on the import. Where import cannot be negative and the baseline is zero, one price says it all."""

    def __init__(self, import_kw: cp.Expression, is_one_sided: bool) -> None:
        n = import_kw.size
        self.is_one_sided = is_one_sided
        self.price = cp.Parameter(n)  # money per kW held through the step
        self.cost: cp.Expression = self.price @ import_kw
        self.constraints: dict[str, cp.Constraint] = {}
        if not is_one_sided:
            self.above_kw = cp.Variable(n, nonneg=True)
            self.baseline_kw = cp.Parameter(n)
            self.spread = cp.Parameter(n, nonneg=True)
            self.cost = self.cost + self.spread @ self.above_kw
            self.constraints = {"counts what is above the baseline": self.above_kw >= import_kw - self.baseline_kw}

    def update(self, commitment: Commitment, hours: Array) -> None:
        """Sets prices and baseline; `hours` is how much of each step is paid for."""
        if self.is_one_sided:
            self.price.value = np.array(commitment.up_price) * hours
            return
        self.price.value = np.array(commitment.down_price) * hours
        self.spread.value = np.array(commitment.spread()) * hours
        self.baseline_kw.value = np.array(commitment.baseline_kw)


class BillingIntervals:
    """Interval means of the import: short steps are averaged by weights, longer ones stand for the intervals inside them (a margin for
    what a mean hides would be free room for the near steps: it raised the peak by 30-60 kW in replayed weeks)."""

    def __init__(self, import_kw: cp.Expression, interval_min: int) -> None:
        self.interval_s = interval_min * 60
        self.columns, rows = interval_columns(self.interval_s), interval_rows(self.interval_s)
        self.weights = cp.Parameter((rows, self.columns), nonneg=True)
        self.metered_kw = cp.Parameter(rows, nonneg=True)
        self.averaged_kw = self.weights @ import_kw[: self.columns] + self.metered_kw
        self.direct_kw = import_kw[self.columns :]

    def update(self, weights: Array, interval_energy_kwh: float) -> None:
        """Sets the weights (timegrid.interval_weights) and the energy metered so far in the running interval."""
        metered_kw = np.zeros(len(weights))
        metered_kw[0] = max(0.0, interval_energy_kwh) * 3600 / self.interval_s
        self.weights.value = weights
        self.metered_kw.value = metered_kw


class PeakTerm:
    """A price per kW on the highest interval mean of a group above a baseline."""

    def __init__(self, intervals: BillingIntervals) -> None:
        rows, direct = intervals.averaged_kw.size, intervals.direct_kw.size
        self.above_kw = cp.Variable(nonneg=True)
        self.reach_kw = cp.Variable()  # baseline + above: the highest mean that costs nothing more
        self.baseline_kw = cp.Parameter(nonneg=True)
        self.price = cp.Parameter(nonneg=True)
        self.lift_averaged_kw = cp.Parameter(rows, nonneg=True)
        self.lift_direct_kw = cp.Parameter(direct, nonneg=True)
        self.cost = self.price * self.above_kw
        self.constraints = {
            "reaches the baseline and what is above it": self.reach_kw == self.baseline_kw + self.above_kw,
            "covers the averaged intervals": self.reach_kw >= intervals.averaged_kw - self.lift_averaged_kw,
            "covers the longer steps": self.reach_kw >= intervals.direct_kw - self.lift_direct_kw,
        }

    def update(self, commitment: Commitment, averaged_in_group: Mask, direct_in_group: Mask, probability: float = 1.0) -> None:
        """Sets price and baseline, and which intervals (True) belong to the group; `probability` is that of the course planned for, where
        branches price the peaks of others."""
        self.full_price = commitment.spread()[0]
        self.price.value = probability * self.full_price
        self.baseline_kw.value = max(0.0, commitment.baseline_kw[0])
        self.lift_averaged_kw.value = np.where(averaged_in_group, 0.0, OUT_OF_GROUP_KW)
        self.lift_direct_kw.value = np.where(direct_in_group, 0.0, OUT_OF_GROUP_KW)


class TotalTerm:
    """A price per kWh on the energy of all steps together, the baseline in kWh: what a minimum take leaves free is worth nothing less."""

    def __init__(self, import_kw: cp.Expression) -> None:
        self.above_kwh = cp.Variable(nonneg=True)
        self.baseline_kwh = cp.Parameter()
        self.spread = cp.Parameter(nonneg=True)
        self.hours = cp.Parameter(import_kw.size, nonneg=True)
        self.price = cp.Parameter(import_kw.size)  # the price below the baseline, per kW held through each step
        self.cost: cp.Expression = self.price @ import_kw + self.spread * self.above_kwh
        self.constraints = {"counts what is above the total": self.above_kwh >= self.hours @ import_kw - self.baseline_kwh}

    def update(self, commitment: Commitment, hours: Array) -> None:
        """Sets prices and baseline; `hours` is how much of each step counts."""
        self.hours.value = hours
        self.price.value = commitment.down_price[0] * hours
        self.spread.value = commitment.spread()[0]
        self.baseline_kwh.value = commitment.baseline_kw[0]


class ChangeTerm:
    """A price per kW by which the import of a step differs from the one before it, beyond what is free."""

    def __init__(self, import_kw: cp.Expression) -> None:
        n = import_kw.size - 1
        change_kw = import_kw[1:] - import_kw[:-1]
        self.beyond_kw = cp.Variable(n, nonneg=True)
        self.free_kw = cp.Parameter(n, nonneg=True)
        self.price = cp.Parameter(n, nonneg=True)
        self.cost: cp.Expression = self.price @ self.beyond_kw
        self.constraints = {
            "counts what rises faster than is free": self.beyond_kw >= change_kw - self.free_kw,
            "counts what falls faster than is free": self.beyond_kw >= -change_kw - self.free_kw,
        }

    def update(self, commitment: Commitment) -> None:
        """Sets prices and the free change between each two steps."""
        self.free_kw.value = np.array(commitment.baseline_kw)
        self.price.value = np.array(commitment.spread())


def commitment_cost(commitment: Commitment, hours: Array, power_kw: Array) -> float:
    """Money a commitment costs for given mean powers; for a peak, of given interval means. Prices a plan and charges a simulation."""
    power_kw = np.asarray(power_kw, float)
    if commitment.per is Per.PEAK:
        above_kw = max(0.0, float(power_kw.max(initial=0.0)) - commitment.baseline_kw[0])
        return commitment.spread()[0] * above_kw
    if commitment.per is Per.TOTAL:
        kwh = float(hours @ power_kw)
        return commitment.down_price[0] * kwh + commitment.spread()[0] * max(0.0, kwh - commitment.baseline_kw[0])
    if commitment.per is Per.CHANGE:
        beyond_kw = np.maximum(0.0, np.abs(np.diff(power_kw)) - np.array(commitment.baseline_kw))
        return float(np.array(commitment.spread()) @ beyond_kw)
    above = np.maximum(0.0, power_kw - np.array(commitment.baseline_kw))
    return float(hours @ (np.array(commitment.down_price) * power_kw + np.array(commitment.spread()) * above))
