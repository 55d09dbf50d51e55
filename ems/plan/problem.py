"""One problem per site: blocks, balance, feeders, commitments, headroom. Built once; `update` only sets Parameters."""

from __future__ import annotations

from collections.abc import Mapping

import cvxpy as cp
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ems.assets.grid_connection.block import GridConnectionBlock
from ems.commitment import Per
from ems.errors import InvariantBroken
from ems.plan.blocks import build_blocks, checkpoints
from ems.plan.branch_values import branch_values
from ems.plan.branches import Branch
from ems.plan.commitments import BillingIntervals, Levelling, PeakTerm, StepTerm
from ems.plan.feeders import FeederTerm, most_back_kw
from ems.plan.generation import TripReserve, update_generators
from ems.plan.headroom import Headroom, kept_kwh
from ems.plan.inputs import PlanInputs
from ems.plan.minimum_bill import MinimumBillTerm, is_weighed
from ems.plan.tariff import tariff_commitments, with_flat_steps
from ems.plan.tariff_terms import TariffTerms
from ems.plan.values import PlanValues, ambient_share, cooling_share, foreseen_kw, lowest_gain, plan_values
from ems.site.model import Feeder, Site
from ems.site.tariff import NEXT, NEXT_YEAR
from ems.timegrid import TimeGrid, boundaries_h, interval_weights

Array = NDArray[np.float64]


class PlanProblem:
    """The model of one site; compiling it (engine_program) finds a term that is not DPP."""

    def __init__(self, site: Site, grid: TimeGrid, branches: int = 0) -> None:
        self.site, self.grid = site, grid
        self.duration_h = cp.Parameter(grid.n, nonneg=True)
        self.blocks = build_blocks(site, grid, self.duration_h)
        self.connection = GridConnectionBlock(self.duration_h, site.point_of_connection.ramp_limit_kw_per_min)
        self.import_kw = self.connection.power_kw
        self.energy = StepTerm(self.import_kw, is_one_sided=site.point_of_connection.export_limit_kw <= 0.0)
        self.intervals = BillingIntervals(self.import_kw, site.tariff.demand_interval_min)
        self.peak, self.next_peak = PeakTerm(self.intervals), PeakTerm(self.intervals)
        self.charges = TariffTerms(site.tariff, self.import_kw, self.intervals)
        self.minimum_bill = MinimumBillTerm(self._bill()) if is_weighed(site.tariff) else None
        self.levelling = Levelling(self.import_kw, self.peak.reach_kw, self.intervals.columns, self.duration_h)
        gain = lowest_gain(site)
        self.headroom = Headroom(self.blocks, self.import_kw, self.connection.import_limit_kw, self.duration_h, gain)
        peaks = (self.peak, self.next_peak)
        rest = (self.duration_h, grid, checkpoints(grid), gain, self.intervals)
        self.branches = [Branch(self.blocks, self.import_kw, peaks, *rest) for _ in range(branches)]
        sources = (self.blocks.generators, self.blocks.renewables)
        self.trips = TripReserve(*sources, self.import_kw, self.connection.import_limit_kw, self.duration_h)
        self.feeders = {f.id: self._feeder(f) for f in site.feeders}
        self.constraints = self._constraints()
        self.cost = self._cost()
        self.problem = cp.Problem(cp.Minimize(self.cost), list(self.constraints.values()))

    def _parts(self) -> dict[str, object]:
        terms = {
            "energy": self.energy,
            "peak": self.peak,
            "next month's peak": self.next_peak,
            "headroom": self.headroom,
            "levelling": self.levelling,
            **self.charges.parts,
            **({} if self.minimum_bill is None else {"minimum bill": self.minimum_bill}),
            "trips": self.trips,
            **{f"branch {number}": branch for number, branch in enumerate(self.branches)},
        }
        return {**self.blocks.all, "point of connection": self.connection, **terms}

    def _constraints(self) -> dict[str, cp.Constraint]:
        named = {f"{part}: {name}": c for part, block in self._parts().items() for name, c in block.constraints.items()}  # type: ignore[attr-defined]
        named["power balance"] = self.import_kw == self._flow_kw({a: 1.0 + self.site.losses.get(a, 0.0) for a in self.blocks.all})
        for name, feeder in self.feeders.items():
            named |= {f"{name}: {rule}": constraint for rule, constraint in feeder.constraints.items()}
        return named

    def _feeder(self, feeder: Feeder) -> FeederTerm:
        flow_kw, both_kw, both_back_kw = self._flow_kw(self.site.gains(feeder)), None, 0.0
        partner = next((f for f in self.site.feeders if f.id == feeder.partner), None)
        if partner is not None:  # either feed alone must carry both
            both_kw, both_back_kw = flow_kw + self._flow_kw(self.site.gains(partner)), most_back_kw(self.site, feeder, partner)
        return FeederTerm(feeder, flow_kw, both_kw, most_back_kw(self.site, feeder), both_back_kw, self.duration_h)

    def _flow_kw(self, gains: Mapping[str, float]) -> cp.Expression:
        """Sum of the powers of some assets, each with what is lost on the way to it. A diagonal, since cvxpy cannot multiply a Parameter
        that stands beside a zero by a number."""
        known = {a: gain for a, gain in gains.items() if a in self.blocks.all}
        by_gain = {gain: self.blocks.power_kw([a for a, own in known.items() if own == gain]) for gain in sorted({1.0, *known.values()})}
        plain_kw, each = by_gain.pop(1.0), sp.eye_array(self.grid.n, format="csr")
        return sum(((gain * each) @ power_kw for gain, power_kw in by_gain.items()), start=plain_kw)

    def _bill(self) -> cp.Expression:
        """What the horizon adds to the bill of the running month."""
        peaks = [term.cost for name, term in self.charges.peaks.items() if not name.endswith((NEXT, NEXT_YEAR))]
        return sum([self.peak.cost, *peaks], start=self.energy.cost)

    def _cost(self) -> cp.Expression:
        cost: cp.Expression = sum(part.cost for part in self._parts().values())  # type: ignore[attr-defined,assignment]
        return sum((feeder.cost for feeder in self.feeders.values()), start=cost)

    def update(self, inputs: PlanInputs) -> PlanValues:
        """Sets every Parameter from the inputs; returns the derived numbers they were set from."""
        v = plan_values(self.site, inputs)
        self.duration_h.value = v.duration_h
        self.connection.update(inputs.envelope.kw, self.site.point_of_connection.export_limit_kw)
        if self.connection.ramp is not None:
            self.connection.ramp.update(inputs.import_now_kw, v.duration_h)
        for feeder in self.feeders.values():
            feeder.update(inputs.outdoor_temp_c)
        self._update_stores(inputs, v)
        self._update_loads(inputs, v)
        self._update_generation(inputs, v)
        self._update_commitments(inputs, v)
        self.headroom.update(v.extra_kw, lowest_gain(self.site) * v.deferrable_kw, kept_kwh(self.blocks), v.duration_h)
        self._update_branches(inputs, v)
        return v

    def _update_stores(self, inputs: PlanInputs, v: PlanValues) -> None:
        for name, battery in self.blocks.batteries.items():
            available = v.open_share * (name not in inputs.unavailable) * ambient_share(battery.battery, inputs.outdoor_temp_c)
            present = inputs.present.get(name, 1.0)
            battery.update(inputs.store_energy_kwh[name], v.duration_h, available, v.stored_value[name], v.readiness, present)
            if battery.budget is not None:
                battery.budget.update(
                    *v.local_days, inputs.store_energy_kwh[name], battery.battery.discharge_efficiency, inputs.given_kwh.get(name)
                )
        for name, ups in self.blocks.upses.items():
            available = v.open_share * (name not in inputs.unavailable)
            ups.update(
                inputs.store_energy_kwh[name],
                inputs.reserve_kwh.get(name, 0.0),
                v.duration_h,
                available,
                v.stored_value[name],
                v.readiness,
                foreseen_kw(self.site, inputs, ups.ups.carries),
            )
            if ups.budget is not None:
                ups.budget.update(*v.local_days, inputs.store_energy_kwh[name], ups.ups.discharge_efficiency, inputs.given_kwh.get(name))

    def _update_loads(self, inputs: PlanInputs, v: PlanValues) -> None:
        at_h = boundaries_h(inputs.horizon)
        for name, cluster in self.blocks.clusters.items():
            backlog = inputs.backlog.get(name, {})
            past = inputs.tier_past.get(name)
            cluster.update(inputs.load_q50_kw[name], backlog, at_h, v.recovery_price, v.waiting_price, v.settle_h, past)
        for cooling in self.blocks.coolings.values():
            it_now_kw = v.it_now_kw if inputs.it_now_kw is None else inputs.it_now_kw
            share = cooling_share(self.site, inputs, cooling.cooling)
            measured_kw = None if inputs.cooling_kw is None else share * inputs.cooling_kw
            foreseen = foreseen_kw(self.site, inputs, cooling.cooling.cools)
            cooling.update(inputs.outdoor_temp_c, share * it_now_kw, measured_kw, v.duration_h, foreseen)
            if cooling.cold is not None:
                supply_c, dew_c = inputs.supply_temp_c.get(cooling.cooling.id), inputs.dew_point_c.get(cooling.cooling.id)
                end_price = v.recovery_price / float(v.gain.max())
                cooling.cold.update(inputs.outdoor_temp_c, dew_c, foreseen, supply_c, v.duration_h, end_price)

    def _update_generation(self, inputs: PlanInputs, v: PlanValues) -> None:
        load_kw = v.gain * sum(inputs.load_q50_kw.values(), start=np.zeros(len(v.gain))) + sum(f.power_kw for f in self.site.fixed_loads)
        update_generators(
            self.blocks.generators, inputs.generation, v.starts, v.duration_h, v.duration_h * v.open_share, load_kw - inputs.envelope.kw
        )
        for name, renewable in self.blocks.renewables.items():
            renewable.update(inputs.generation.available_q50_kw.get(name, np.zeros(len(v.gain))), v.duration_h)

    def _update_commitments(self, inputs: PlanInputs, v: PlanValues) -> None:
        energy, demand, next_demand = tariff_commitments(self.site.tariff, inputs)
        assert energy.per is Per.STEP
        self.energy.update(with_flat_steps(energy, inputs.commitments), v.duration_h * v.open_share)
        self.charges.update(inputs, v.duration_h * v.open_share)
        if self.minimum_bill is not None:
            self.minimum_bill.update(inputs.minimum_left)
        weights = interval_weights(inputs.horizon, self.intervals.interval_s)
        self.intervals.update(weights, inputs.meter.interval_energy_kwh)
        averaged, direct = v.months(self.intervals.interval_s, len(weights), self.intervals.columns)
        probability = 1.0 - sum(b.probability for b in inputs.branches)
        self.peak.update(demand, averaged == 1, direct == 1, probability)
        self.next_peak.update(next_demand, averaged == 2, direct == 2, probability)

    def _update_branches(self, inputs: PlanInputs, v: PlanValues) -> None:
        """After everything else: branches stand on the Parameters of blocks and peaks."""
        if len(inputs.branches) != len(self.branches):
            raise InvariantBroken(f"{len(inputs.branches)} branches of the load for a problem with {len(self.branches)}")
        for branch, course in zip(self.branches, inputs.branches, strict=True):
            branch.update(branch_values(self.site, inputs, v, course, branch.deadline_h, kept_kwh(self.blocks)))
