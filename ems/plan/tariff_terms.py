"""The terms of a tariff beyond energy and one demand charge: a peak per window, minimum take, ramps. Compiled once, absent where unused."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

from ems.commitment import Commitment, Per
from ems.errors import InvariantBroken
from ems.plan.commitments import BillingIntervals, ChangeTerm, PeakTerm, TotalTerm
from ems.plan.inputs import PlanInputs
from ems.plan.tariff import MINIMUM_TAKE, RAMP, peak_names
from ems.site.model import Tariff
from ems.timegrid import interval_columns, interval_rows, interval_start, interval_weights

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


class TariffTerms:
    """One term per charge by its name. `shared` are the billing intervals of the demand charge, used again where a charge has the same."""

    def __init__(self, tariff: Tariff, import_kw: cp.Expression, shared: BillingIntervals) -> None:
        self.intervals = {shared.interval_s // 60: shared}
        self.peaks: dict[str, PeakTerm] = {}
        self.metered_on: dict[str, BillingIntervals] = {}
        for name, minutes in peak_names(tariff).items():
            self.intervals.setdefault(minutes, BillingIntervals(import_kw, minutes))
            self.metered_on[name] = self.intervals[minutes]
            self.peaks[name] = PeakTerm(self.intervals[minutes])
        self.take = None if tariff.minimum_take is None else TotalTerm(import_kw)
        self.ramp = None if tariff.ramp is None else RampTerm(import_kw, tariff.ramp.interval_min)
        self.own_interval = shared.interval_s // 60

    @property
    def parts(self) -> dict[str, PeakTerm | TotalTerm | RampTerm]:
        """Every term by the name of its charge; empty for a plain tariff."""
        others = {MINIMUM_TAKE: self.take, RAMP: self.ramp}
        return {**self.peaks, **{name: term for name, term in others.items() if term is not None}}

    def update(self, inputs: PlanInputs, paid_h: Array) -> None:
        """Sets every term from the commitment of its name; a charge nobody committed to has no price. `paid_h`: paid hours of each step."""
        by_name = {c.name: c for c in inputs.commitments}
        unknown = [c.name for c in inputs.commitments if not c.adds_to_energy and c.name not in self.parts]
        if unknown:
            raise InvariantBroken(f"a commitment that no term of the plan prices: {', '.join(unknown)}")
        for minutes, intervals in self.intervals.items():
            if minutes != self.own_interval:
                intervals.update(interval_weights(inputs.horizon, intervals.interval_s), inputs.interval_energy_kwh.get(minutes, 0.0))
        for name, term in self.peaks.items():
            intervals = self.metered_on[name]
            commitment = by_name.get(name) or _free(name, Per.PEAK, 1)
            masks = group_masks(commitment, inputs, intervals.interval_s, intervals.columns, intervals.averaged_kw.size)
            term.update(commitment, *masks)
        if self.take is not None:
            self.take.update(by_name.get(MINIMUM_TAKE) or _free(MINIMUM_TAKE, Per.TOTAL, 1), paid_h)
        if self.ramp is not None:
            self.ramp.update(by_name.get(RAMP) or _free(RAMP, Per.CHANGE, self.ramp.changes), inputs)


class RampTerm:
    """A price per kW by which one interval mean differs from the one before it, beyond what is free; longer steps stand for themselves."""

    def __init__(self, import_kw: cp.Expression, interval_min: int) -> None:
        self.interval_min = interval_min
        columns, rows = interval_columns(interval_min * 60), interval_rows(interval_min * 60)
        self.weights = cp.Parameter((rows, columns + 1), nonneg=True)
        self.metered_kw = cp.Parameter(rows, nonneg=True)
        means_kw = self.weights @ import_kw[: columns + 1] + self.metered_kw
        self.change = ChangeTerm(cp.hstack([means_kw, import_kw[columns:]]))
        self.changes = int(self.change.free_kw.size)
        self.cost, self.constraints = self.change.cost, self.change.constraints

    def update(self, commitment: Commitment, inputs: PlanInputs) -> None:
        """Sets prices, the free change between each two means, and what each mean is made of."""
        self.weights.value, self.metered_kw.value = ramp_weights(inputs, self.interval_min)
        self.change.update(commitment)


def ramp_weights(inputs: PlanInputs, interval_min: int) -> tuple[Array, Array]:
    """Share of each billing interval from the running one on covered by each averaged step and the first longer one, and what is metered
    of it already, as power. Intervals no averaged step touches repeat the first longer step: no change. What the running interval took
    before `now` is as its rest where it was not metered."""
    interval_s = interval_min * 60
    averaged = interval_weights(inputs.horizon, interval_s)
    missing = np.clip(1.0 - averaged.sum(axis=1), 0.0, 1.0)
    metered_kw = np.zeros(len(averaged))
    if interval_min in inputs.interval_energy_kwh:
        metered_kw[0] = max(0.0, inputs.interval_energy_kwh[interval_min]) * 3600 / interval_s
    else:
        averaged[0] /= max(1.0 - missing[0], 1e-9)
    missing[0] = 0.0
    return np.column_stack([averaged, missing]), metered_kw


def ramp_means(inputs: PlanInputs, interval_min: int, import_kw: Array) -> Array:
    """The means whose changes are priced, for given step means."""
    weights, metered_kw = ramp_weights(inputs, interval_min)
    columns = weights.shape[1] - 1
    return np.concatenate([weights @ import_kw[: columns + 1] + metered_kw, import_kw[columns:]])


def group_masks(commitment: Commitment, inputs: PlanInputs, interval_s: int, columns: int, rows: int) -> tuple[Mask, Mask]:
    """Which averaged intervals start within the spans of a commitment, and which of the longer steps touch them."""
    spans = [(a.timestamp(), b.timestamp()) for a, b in commitment.spans or ()]
    first_s = interval_start(inputs.horizon.starts[0], interval_s).timestamp()
    at_s = first_s + interval_s * np.arange(rows)
    begin_s = np.array([s.timestamp() for s in inputs.horizon.starts[columns:]])
    end_s = begin_s + 3600.0 * np.array(inputs.horizon.duration_h[columns:])
    if commitment.spans is None:
        return np.ones(rows, bool), np.ones(len(begin_s), bool)
    averaged, direct = np.zeros(rows, bool), np.zeros(len(begin_s), bool)
    for start_s, stop_s in spans:
        averaged |= (at_s >= start_s) & (at_s < stop_s)
        direct |= (end_s > start_s) & (begin_s < stop_s)
    return averaged, direct


def _free(name: str, per: Per, n: int) -> Commitment:
    return Commitment(name, per, (0.0,) * n, (0.0,) * n, (0.0,) * n, spans=())
