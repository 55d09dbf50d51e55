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
from ems.timegrid import interval_start, interval_weights

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
        self.ramp = None if tariff.ramp is None else ChangeTerm(import_kw)
        self.own_interval = shared.interval_s // 60

    @property
    def parts(self) -> dict[str, PeakTerm | TotalTerm | ChangeTerm]:
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
            self.ramp.update(by_name.get(RAMP) or _free(RAMP, Per.CHANGE, inputs.horizon.n - 1))


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
