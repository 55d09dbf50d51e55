"""Generators and renewables in the plan: what is known of them, the rows that keep a trip harmless, and what the plan says of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

from ems.assets.generator.block import GeneratorBlock, availability, fuel_money
from ems.assets.generator.model import Generator, GeneratorRun
from ems.assets.renewable.block import RenewableBlock
from ems.horizon import Horizon
from ems.obligation import Obligation
from ems.site.model import Site

Array = NDArray[np.float64]
UNHELD_PRICE_PER_KWH = 4.0  # on import a trip would push over the limit: dearer than cutting work, which the guard would do; below a breach
LONG_AGO_H, NO_BUDGET = 1e6, 1e6


@dataclass(frozen=True)
class GenerationInputs:
    """Per generator where it stands; per emergency machine the share of each step an order names it for; per renewable what is expected."""

    runs: Mapping[str, GeneratorRun] = field(default_factory=dict)
    ordered: Mapping[str, Array] = field(default_factory=dict)
    available_q10_kw: Mapping[str, Array] = field(default_factory=dict)
    available_q50_kw: Mapping[str, Array] = field(default_factory=dict)

    def rows(self) -> dict[str, Array]:
        """Every row by a name, to be checked for length and finite numbers."""
        rows = {f"order of {k}": v for k, v in self.ordered.items()}
        rows |= {f"lower expectation of {k}": v for k, v in self.available_q10_kw.items()}
        return rows | {f"expectation of {k}": v for k, v in self.available_q50_kw.items()}

    def numbers(self) -> dict[str, float | None]:
        """Single numbers by a name."""
        return {f"power of {k}": r.generation_kw + r.available + r.blocked_h + r.start_left_h for k, r in self.runs.items()}

    def uncertain_kw(self, n: int) -> Array:
        """What sun and wind may fall short of what is expected, per step."""
        short = [np.maximum(self.available_q50_kw[k] - low, 0.0) for k, low in self.available_q10_kw.items() if k in self.available_q50_kw]
        return np.asarray(sum(short, start=np.zeros(n)), dtype=np.float64)


def ordered_shares(site: Site, horizon: Horizon, events: Iterable[Obligation]) -> dict[str, Array]:
    """Per emergency machine, the share of each step in which an order names its programme."""
    known = list(events)
    out = {}
    for generator in site.generators:
        named = [e for e in known if e.program in generator.ordered_by]
        if named:
            out[generator.id] = np.max([_shares(horizon, e.start, e.end) for e in named], axis=0)
    return out


def _shares(horizon: Horizon, start: datetime, end: datetime) -> Array:
    shares = []
    for begin, hours in zip(horizon.starts, horizon.duration_h, strict=True):
        overlap_s = (min(end, begin + timedelta(hours=hours)) - max(start, begin)).total_seconds()
        shares.append(max(0.0, overlap_s) / (hours * 3600.0))
    return np.array(shares)


def unknown_run() -> GeneratorRun:
    """Of a machine nobody has measured: it gives nothing and cannot be counted on."""
    return GeneratorRun(False, LONG_AGO_H, 0.0, 0.0, 0.0, NO_BUDGET, NO_BUDGET)


class TripReserve:
    """Import stays under its limit when any one machine trips, and without sun and wind: soft, as the guard would cut work for it.

    Emergency machines give a known row, so they need no row of their own as the one that trips.
    """

    def __init__(
        self,
        generators: Mapping[str, GeneratorBlock],
        renewables: Mapping[str, RenewableBlock],
        import_kw: cp.Expression,
        limit_kw: cp.Expression,
        duration_h: cp.Parameter,
    ) -> None:
        self.constraints: dict[str, cp.Constraint] = {}
        self.cost: cp.Expression = cp.Constant(0.0)
        if not generators and not renewables:
            return
        zero = cp.Constant(np.zeros(duration_h.size))
        self.unheld_kw = cp.Variable(duration_h.size, nonneg=True)
        self.cost = UNHELD_PRICE_PER_KWH * (duration_h @ self.unheld_kw)
        without_sun = import_kw - sum((r.power_kw for r in renewables.values()), start=zero)
        for name, block in generators.items():
            row = without_sun - block.power_kw <= limit_kw + self.unheld_kw
            self.constraints[f"holds the import limit when {name} trips"] = row
        if not generators:
            self.constraints["holds the import limit without sun and wind"] = without_sun <= limit_kw + self.unheld_kw


def update_generators(
    blocks: Mapping[str, GeneratorBlock],
    inputs: GenerationInputs,
    starts: tuple[datetime, ...],
    duration_h: Array,
    paid_h: Array,
    short_kw: Array,
) -> None:
    """Sets every generator; `short_kw` is what the import limit is short of per step, for machines under an order."""
    starts_s = np.array([s.timestamp() for s in starts])
    ordered_kw = _shared(blocks, inputs.ordered, short_kw - _firm_baseload_kw(blocks, inputs, starts_s, duration_h))
    for name, block in blocks.items():
        block.update(inputs.runs.get(name, unknown_run()), starts_s, duration_h, paid_h, ordered_kw.get(name))


def _firm_baseload_kw(blocks: Mapping[str, GeneratorBlock], inputs: GenerationInputs, starts_s: Array, duration_h: Array) -> Array:
    """What baseload machines give at least when the largest of them trips."""
    rows = [np.zeros(len(duration_h))]
    for name, block in blocks.items():
        if block.generator.is_baseload:
            run = inputs.runs.get(name, unknown_run())
            rows.append(block.generator.power_kw * availability(block.generator, run, starts_s, duration_h))
    return np.asarray(np.sum(rows, axis=0) - np.max(rows, axis=0), dtype=np.float64)


def _shared(blocks: Mapping[str, GeneratorBlock], ordered: Mapping[str, Array], short_kw: Array) -> dict[str, Array]:
    """What is short, shared by rating among the machines ordered, each at least at its minimum load."""
    total_kw = sum(blocks[k].generator.power_kw for k in ordered if k in blocks)
    out = {}
    for name, share in ordered.items():
        if name in blocks:
            g = blocks[name].generator
            out[name] = share * np.clip(short_kw * g.power_kw / total_kw, g.min_power_kw, g.power_kw)
    return out


def fuel_cost(block: GeneratorBlock, generation_kw: Array, fuel_per_h: Array | None, start: Array | None, paid_h: Array) -> float:
    """Fuel, maintenance and starts in money, as the block prices them."""
    g: Generator = block.generator
    if fuel_per_h is None:
        return fuel_money(g, generation_kw, paid_h)
    starts = g.start_cost * float(start.sum()) if start is not None else 0.0
    return starts + float(paid_h @ (g.fuel_price * fuel_per_h + g.maintenance_price_per_kwh * generation_kw))
