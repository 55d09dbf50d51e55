"""Generators, sun and wind in the bound: no start costs, ramps, minimum times or minimum loads, and fractions of a machine may run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from ems.assets.generator.model import Generator
from ems.plan.linear import Columns, LinearProgram, LinearSolution, Term
from ems.site.model import Site

Array = NDArray[np.float64]


@dataclass(frozen=True)
class GenerationColumns:
    """Powers (with sign) for the balance, columns with their money per unit, and money owed whatever is done."""

    power: list[Term]
    fuel: list[tuple[Columns, float]]
    owed: float

    def fuel_money(self, found: LinearSolution) -> float:
        """What fuel and maintenance cost in the answer."""
        return float(sum(price * found.value(columns).sum() for columns, price in self.fuel))


def add_generation(
    lp: LinearProgram, site: Site, available_kw: Mapping[str, Array], ordered: frozenset[int], starts: Sequence[datetime], step_h: float
) -> GenerationColumns:
    """Adds all sources of a site. An emergency machine may only run in the ordered steps, none in steps wholly within its outage."""
    n = len(starts)
    columns = GenerationColumns([], [], _owed(site, available_kw, step_h))
    for generator in site.generators:
        away = np.array([generator.is_out(s.timestamp()) and generator.is_out(s.timestamp() + 3600.0 * step_h - 1.0) for s in starts])
        may_run = np.array([float(not generator.is_emergency or i in ordered) for i in range(n)]) * ~away
        _add_generator(lp, generator, may_run, n, step_h, columns)
    for renewable in site.renewables:
        there = np.asarray(available_kw.get(renewable.id, np.zeros(n)), dtype=np.float64)
        price = renewable.purchase_price_per_kwh - renewable.curtailment_price_per_kwh
        columns.power.append((lp.add(n, price * step_h, upper=there), -1.0))
    return columns


def _add_generator(lp: LinearProgram, g: Generator, may_run: Array, n: int, step_h: float, columns: GenerationColumns) -> None:
    given = lp.add(n, g.maintenance_price_per_kwh * step_h)
    on, fuel = lp.add(n, upper=may_run), lp.add(n, g.fuel_price * step_h)
    lp.require([(given, 1.0), (on, -g.power_kw)], -np.inf, 0.0)
    for slope, idle in g.segments:
        lp.require([(fuel, 1.0), (given, -slope), (on, -idle)], 0.0, np.inf)
    if g.permit_h_per_year is not None:
        lp.require([(on[i : i + 1], step_h) for i in range(n)], -np.inf, max(0.0, g.permit_h_per_year - g.permit_used_h))
    if (budget_kg := g.emission_budget_kg(counts_used=True)) is not None:
        lp.require([(fuel[i : i + 1], step_h * g.emission_kg_per_fuel) for i in range(n)], -np.inf, max(0.0, budget_kg))
    columns.power.append((given, -1.0))
    columns.fuel.extend([(given, g.maintenance_price_per_kwh * step_h), (fuel, g.fuel_price * step_h)])


def _owed(site: Site, available_kw: Mapping[str, Array], step_h: float) -> float:
    """As if everything were curtailed; what is taken then costs the difference."""
    return sum(r.curtailment_price_per_kwh * step_h * float(np.sum(available_kw.get(r.id, 0.0))) for r in site.renewables)
