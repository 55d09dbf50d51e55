"""From PlanInputs to a Plan: set the numbers, solve, verify, explain."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

from ems.assets.battery.block import BatteryBlock
from ems.assets.generator.block import EmergencyBlock, UnitBlock
from ems.assets.grid_connection.block import RAMP_PRICE_PER_KW
from ems.assets.workload.block import TIER_PRICE_PER_KWH, SlowedWork
from ems.commitment import Commitment
from ems.errors import PlanInfeasible
from ems.plan.branches import Branch
from ems.plan.building import no_collection
from ems.plan.commitments import commitment_cost
from ems.plan.directions import ROUNDS, fix_directions, fix_order
from ems.plan.engine import HOT, Engine, Solution
from ems.plan.explain import binding_sources, explain
from ems.plan.generation import fuel_cost
from ems.plan.inputs import PlanInputs
from ems.plan.plan import BranchPlan, ClassPlan, Plan
from ems.plan.problem import PlanProblem
from ems.plan.tariff import MINIMUM_BILL, RAMP, tariff_commitments
from ems.plan.tariff_goals import goal_lines, minimum_line, window_goals
from ems.plan.tariff_terms import ramp_means
from ems.plan.values import PlanValues
from ems.plan.verify import verify
from ems.plan.worth_of import Worths
from ems.site.model import Site
from ems.timegrid import TimeGrid

Array = NDArray[np.float64]
RAMP_LIMIT = "ramp limit"
FIRST_SOLVE_ITERATIONS = 50_000  # a bound against endless runs; a cold solve of the demo site takes about a thousand


class Planner:
    """Plans one site. Keeps the compiled problem and the solver between plans.

    `budget_s` limits each attempt in wall seconds; None limits iterations instead, so that a replay gives the same plans every time.
    """

    def __init__(self, site: Site, budget_s: float | None = None, branches: int = 0) -> None:
        self.site = site
        self.grid = TimeGrid.covering(site.plan.horizon_h)
        with no_collection():
            self.problem = PlanProblem(site, self.grid, branches)
        self.engine = Engine(self.problem.problem, budget_s if budget_s is not None else np.inf, FIRST_SOLVE_ITERATIONS)
        self.worths = Worths(self.problem)
        self.last_path = ""

    def plan(self, inputs: PlanInputs) -> Plan:
        """The best plan for these inputs, verified. Raises PlanInfeasible when the inputs cannot be planned with, no solver answers, or
        no answer stands the check."""
        inputs = replace(inputs, branches=inputs.branches[: len(self.problem.branches)])  # a planner without branches plans the median
        faults = inputs.faults()
        if faults:
            raise PlanInfeasible(f"there is nothing to plan with: {'; '.join(faults[:3])}")
        values = self.problem.update(inputs)
        solution = self._solve(inputs)
        plan = self._plan(inputs, values, solution)
        faults = verify(self.site, inputs, plan)
        if faults:
            raise PlanInfeasible(f"the plan does not stand its check: {'; '.join(faults[:3])}")
        self.last_path = solution.path
        return plan

    def _solve(self, inputs: PlanInputs) -> Solution:
        """The optimum in which no store charges and discharges at once, and no cut begins with its dear part."""
        solution = self.engine.solve(inputs.horizon)
        stores = {**self.problem.blocks.stores, **self.problem.blocks.colds}
        for done in range(ROUNDS + len(stores)):
            value = partial(self._values, solution=solution)
            closed = fix_directions(stores, value, everywhere=done >= ROUNDS)
            if not closed + fix_order(self.problem.blocks.slowed_work, value, everywhere=done >= ROUNDS):
                break
            solution = self.engine.solve(inputs.horizon)
        return solution

    def _plan(self, inputs: PlanInputs, values: PlanValues, solution: Solution) -> Plan:
        import_kw = self._values(self.problem.import_kw, solution)
        marginal = self._marginal_price(inputs, values, solution)
        peak_kw = float(self._values(self.problem.peak.reach_kw, solution)[0])
        reach_kw = {name: float(self._values(term.reach_kw, solution)[0]) for name, term in self.problem.charges.peaks.items()}
        goals = window_goals(inputs, reach_kw, self._next_month(inputs, solution))
        is_priced = self.site.tariff.demand_price_per_kw_month > 0.0
        binding = goals.binding(binding_sources(self.site.tariff, inputs, import_kw, peak_kw), import_kw)
        stored_value = self._stored_values(solution)
        cost = self._cost(inputs, values, solution, import_kw)
        return Plan(
            made_at=inputs.now,
            valid_until=inputs.now + timedelta(seconds=self.site.plan.valid_s),
            starts=inputs.horizon.starts,
            duration_h=inputs.horizon.duration_h,
            power_kw=self._powers(solution),
            energy_kwh={name: _tuple(self._values(b.energy_kwh, solution)) for name, b in self.problem.blocks.stores.items()},
            classes={name: self._classes(name, solution) for name in self.problem.blocks.clusters},
            import_kw=_tuple(import_kw),
            load_q50_kw={k: _tuple(v) for k, v in inputs.load_q50_kw.items()},
            load_q90_kw={k: _tuple(v) for k, v in inputs.load_q90_kw.items()},
            price_per_kwh=_tuple(inputs.import_price_per_kwh),
            marginal_price_per_kwh=_tuple(marginal),
            binding=binding,
            peak_kw=peak_kw,
            objective=solution.objective,
            stored_value_per_kwh=stored_value,
            free_peak_kw=tariff_commitments(self.site.tariff, inputs)[1].baseline_kw[0],
            window_goal_kw=goals.goal_kw if any(goals.charge) else (),
            window_free_kw=goals.free_kw if any(goals.charge) else (),
            critical_q99_kw=inputs.critical_q99_kw,
            on={name: _tuple(self._values(b.on, solution)) for name, b in self.problem.blocks.units.items()},
            curtailed_kw={name: _tuple(self._curtailed_kw(name, solution)) for name in self.problem.blocks.renewables},
            worth=self.worths.of(self.engine, solution),
            supply_temp_c={name: _tuple(self._supply_c(name, solution)) for name in self.problem.blocks.colds},
            lines=(
                *explain(inputs, import_kw, marginal, binding, peak_kw if is_priced else None, stored_value),
                *goal_lines(inputs, reach_kw),
                *minimum_line(inputs, cost),
            ),
            cost=cost,
            branches=tuple(self._branch(b, solution) for b in self.problem.branches),
            status="optimal" if solution.path == HOT else f"optimal ({solution.path})",
        )

    def _next_month(self, inputs: PlanInputs, solution: Solution) -> tuple[tuple[Commitment, float], ...]:
        """The next month's demand charge with what the plan reaches, where the horizon holds some of it: the goal from its first instant
        on, should no plan of that month come."""
        next_at, demand = inputs.meter.next_month_at, tariff_commitments(self.site.tariff, inputs)[2]
        if next_at is None or next_at >= inputs.horizon.end:
            return ()
        reach_kw = float(self._values(self.problem.next_peak.reach_kw, solution)[0])
        return ((replace(demand, spans=((next_at, inputs.horizon.end),)), reach_kw),)

    def _branch(self, branch: Branch, solution: Solution) -> BranchPlan:
        return BranchPlan(
            import_kw=_tuple(self._values(branch.import_kw, solution)),
            charge_kw=_tuple(self._values(branch.charge_kw, solution)),
            discharge_kw=_tuple(self._values(branch.discharge_kw, solution)),
            stored_kwh=_tuple(self._values(branch.stored_kwh, solution)),
            defer_kw=_tuple(self._values(branch.defer_kw, solution)),
            recover_kw=_tuple(self._values(branch.recover_kw, solution)),
            drop_kwh=_tuple(self._values(branch.drop_kwh, solution)),
            backlog_kwh=_tuple(self._values(branch.backlog_kwh, solution)),
            reach_kw=tuple(float(self._values(reach, solution)[0]) for reach in branch.reach_kw),
        )

    def _powers(self, solution: Solution) -> dict[str, tuple[float, ...]]:
        blocks = self.problem.blocks
        stores = {name: self._values(b.charge_kw, solution) - self._values(b.discharge_kw, solution) for name, b in blocks.stores.items()}
        clusters = {name: self._values(b.power_kw, solution) for name, b in blocks.clusters.items()}
        given = {name: -self._given_kw(name, solution) for name in (*blocks.generators, *blocks.renewables)}
        return {name: _tuple(v) for name, v in {**stores, **clusters, **given}.items()}

    def _supply_c(self, name: str, solution: Solution) -> Array:
        """The supply at the boundaries of the steps, from what its loop stores."""
        cold = self.problem.blocks.colds[name]
        return cold.plant.supply_temp_c - self._values(cold.cold_kwh, solution) / cold.plant.store_kwh_per_k

    def _given_kw(self, name: str, solution: Solution) -> Array:
        """What a generator or renewable gives per step, at least 0."""
        if name in self.problem.blocks.renewables:
            renewable = self.problem.blocks.renewables[name]
            return np.asarray(renewable.available_kw.value, dtype=np.float64) - self._values(renewable.curtailed_kw, solution)
        block = self.problem.blocks.generators[name]
        if isinstance(block, EmergencyBlock):
            return np.asarray(block.generation_kw.value, dtype=np.float64)
        return self._values(block.generation_kw, solution)

    def _fuel(self, name: str, hours: Array, solution: Solution) -> float:
        block = self.problem.blocks.generators[name]
        burnt = None if isinstance(block, EmergencyBlock) else self._values(block.fuel_per_h, solution)
        start = self._values(block.start, solution) if isinstance(block, UnitBlock) else None
        return fuel_cost(block, self._given_kw(name, solution), burnt, start, hours)

    def _classes(self, cluster: str, solution: Solution) -> dict[str, ClassPlan]:
        block = self.problem.blocks.clusters[cluster]
        zero = (0.0,) * self.grid.n
        throttled = {name: _tuple(self._values(v, solution)) for name, v in block.throttle_kw.items()}
        return {
            name: ClassPlan(
                defer_kw=_tuple(self._values(block.deferrable[name].defer_kw, solution)) if name in block.deferrable else zero,
                recover_kw=_tuple(self._values(block.deferrable[name].recover_kw, solution)) if name in block.deferrable else zero,
                throttle_kw=throttled.get(name, zero),
            )
            for name in block.cluster.classes
        }

    def _cost(self, inputs: PlanInputs, values: PlanValues, solution: Solution, import_kw: Array) -> dict[str, float]:
        """The objective in parts; `other` is what guides the plan without being billed (readiness, worth of what is left, tie-breaks)."""
        energy, demand, next_demand = tariff_commitments(self.site.tariff, inputs)
        hours = values.duration_h
        cost = {
            "energy": commitment_cost(energy, hours * values.open_share, import_kw),
            "demand": commitment_cost(demand, hours, self._values(self.problem.peak.reach_kw, solution)),
            "next demand": commitment_cost(next_demand, hours, self._values(self.problem.next_peak.reach_kw, solution)),
            **self._charges_cost(inputs, values, solution, import_kw),
            **self._minimum_cost(solution),
            **self._ramp_cost(solution),
            "wear": sum(self._wear(name, hours, solution) for name in self.problem.blocks.stores),
            **self._generation_cost(values, solution),
            "workload": sum(self._work(name, hours, solution) for name in self.problem.blocks.clusters),
            **self._tier_cost(solution),
        }
        return {**cost, "other": solution.objective - sum(cost.values())}

    def _charges_cost(self, inputs: PlanInputs, values: PlanValues, solution: Solution, import_kw: Array) -> dict[str, float]:
        """The tariff's other charges by name; absent at a site whose tariff has none."""
        paid_h, peaks = values.duration_h * values.open_share, self.problem.charges.peaks
        powers = {name: self._values(term.reach_kw, solution) for name, term in peaks.items()}
        if (ramp := self.site.tariff.ramp) is not None:
            powers[RAMP] = ramp_means(inputs, ramp.interval_min, import_kw)
        return {c.name: commitment_cost(c, paid_h, powers.get(c.name, import_kw)) for c in inputs.commitments}

    def _minimum_cost(self, solution: Solution) -> dict[str, float]:
        """What the bill misses of its minimum; absent where the plan weighs none."""
        term = self.problem.minimum_bill
        return {} if term is None else {MINIMUM_BILL: float(self._values(term.missing, solution)[0])}

    def _ramp_cost(self, solution: Solution) -> dict[str, float]:
        """What changes beyond the ramp limit of the connection are priced at; absent where it has none."""
        ramp = self.problem.connection.ramp
        return {} if ramp is None else {RAMP_LIMIT: RAMP_PRICE_PER_KW * float(self._values(ramp.beyond_kw, solution).sum())}

    def _tier_cost(self, solution: Solution) -> dict[str, float]:
        """What work missing beyond its tier is priced at; absent at a site whose work has none."""
        rules = [rule for cluster in self.problem.blocks.clusters.values() for rule in cluster.tiers.values()]
        beyond_kwh = sum(float(self._values(rule.beyond_kwh, solution)[0]) for rule in rules)
        return {"tier": TIER_PRICE_PER_KWH * beyond_kwh} if rules else {}

    def _generation_cost(self, values: PlanValues, solution: Solution) -> dict[str, float]:
        """Fuel with starts and maintenance, and power purchased from sun and wind; absent at a site that has none."""
        blocks, hours = self.problem.blocks, values.duration_h
        parts = (
            {"fuel": sum(self._fuel(name, hours * values.open_share, solution) for name in blocks.generators)} if blocks.generators else {}
        )
        if blocks.renewables:
            parts["purchase"] = sum(self._purchase(name, hours, solution) for name in blocks.renewables)
        return parts

    def _purchase(self, name: str, hours: Array, solution: Solution) -> float:
        r, curtailed_kw = self.problem.blocks.renewables[name].renewable, self._curtailed_kw(name, solution)
        return float(hours @ (r.purchase_price_per_kwh * self._given_kw(name, solution) + r.curtailment_price_per_kwh * curtailed_kw))

    def _curtailed_kw(self, name: str, solution: Solution) -> Array:
        return self._values(self.problem.blocks.renewables[name].curtailed_kw, solution)

    def _wear(self, store: str, hours: Array, solution: Solution) -> float:
        block = self.problem.blocks.stores[store]
        ratings = block.battery if isinstance(block, BatteryBlock) else block.ups
        moved_kw = self._values(block.charge_kw, solution) + self._values(block.discharge_kw, solution)
        money = float(ratings.wear_price_per_kwh * (hours @ moved_kw))
        if isinstance(block, BatteryBlock) and block.depth is not None:
            drawn = zip(block.depth.prices, block.depth.drawn_kwh, strict=True)
            money += sum(float(price * self._values(kwh, solution).sum()) for price, kwh in drawn)
        return money

    def _work(self, cluster: str, hours: Array, solution: Solution) -> float:
        block = self.problem.blocks.clusters[cluster]
        money = 0.0
        for name, kind in block.cluster.classes.items():
            if name in block.throttle_kw:
                lost_kw = self._cut_work(block.slowed.get(name), block.throttle_kw[name], solution)
                money += (kind.throttle_price_per_kwh or 0.0) * float(hours @ lost_kw)
            if name in block.deferrable:
                waiting = block.deferrable[name]
                money += (kind.defer_price_per_kwh or 0.0) * float(hours @ self._cut_work(waiting.slowed, waiting.defer_kw, solution))
                money += (kind.drop_price_per_kwh or 0.0) * float(self._values(waiting.drop_kwh, solution).sum())
        return money

    def _cut_work(self, slowed: SlowedWork | None, cut_kw: cp.Variable, solution: Solution) -> Array:
        """Work not done where power is cut, in kW at full speed."""
        if slowed is None:
            return self._values(cut_kw, solution)
        parts = zip(slowed.slopes, slowed.part_kw, strict=True)
        return sum((slope * self._values(part, solution) for slope, part in parts), start=np.zeros(self.grid.n))

    def _marginal_price(self, inputs: PlanInputs, values: PlanValues, solution: Solution) -> Array:
        """What one kWh less import is worth, from the dual of the power balance; below 0 where it costs, as in hours that pay for taking
        power. The price itself when the solver gave no duals."""
        saved = 0.0 - self.engine.worth(self.problem.constraints["power balance"], solution)  # its room is import without use
        return np.where(saved.any(), saved / values.duration_h, inputs.import_price_per_kwh)

    def _stored_values(self, solution: Solution) -> dict[str, float]:
        """Minus the reduced cost of the energy a store starts with: what one more kWh now would save."""
        assert self.engine.compiled is not None
        first = {name: self.engine.compiled.columns(b.energy_kwh).start for name, b in self.problem.blocks.stores.items()}
        return {name: float(-solution.column_dual[column]) for name, column in first.items()}

    def _values(self, variable: cp.Variable, solution: Solution) -> Array:
        return self.engine.value(variable, solution)


def _tuple(values: Array) -> tuple[float, ...]:
    return tuple(np.round(np.asarray(values, float), 6).tolist())
