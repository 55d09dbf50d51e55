"""The blocks of a site, joined by their powers: which kind brings which block. Add a kind with a line here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cvxpy as cp
import numpy as np

from ems.assets.battery.block import BatteryBlock
from ems.assets.cooling.block import ColdStore, CoolingBlock
from ems.assets.fixed_load.block import FixedLoadBlock
from ems.assets.generator.block import GeneratorBlock, UnitBlock, generator_block
from ems.assets.renewable.block import RenewableBlock
from ems.assets.ups.block import UpsBlock
from ems.assets.workload.block import ClusterBlock, SlowedWork
from ems.site.model import Site
from ems.timegrid import FINE_STEPS, MEDIUM_STEPS, TimeGrid

Block = BatteryBlock | CoolingBlock | FixedLoadBlock | UpsBlock | ClusterBlock | GeneratorBlock | RenewableBlock
StoreBlock = BatteryBlock | UpsBlock


def checkpoints(grid: TimeGrid) -> tuple[int, ...]:
    """Boundaries at which deadlines are enforced: every quarter of an hour for an hour, then every hour."""
    medium = range(FINE_STEPS + 1, FINE_STEPS + 2 + MEDIUM_STEPS, 4)
    return (*range(3, FINE_STEPS, 3), *medium, *range(FINE_STEPS + 2 + MEDIUM_STEPS, grid.n + 1))


@dataclass(frozen=True)
class SiteBlocks:
    """Every asset's block by id."""

    batteries: dict[str, BatteryBlock]
    upses: dict[str, UpsBlock]
    clusters: dict[str, ClusterBlock]
    coolings: dict[str, CoolingBlock]
    fixed_loads: dict[str, FixedLoadBlock]
    generators: dict[str, GeneratorBlock]
    renewables: dict[str, RenewableBlock]

    @property
    def all(self) -> dict[str, Block]:
        """All blocks."""
        loads: dict[str, Block] = {**self.clusters, **self.coolings, **self.fixed_loads}
        return {**self.batteries, **self.upses, **loads, **self.generators, **self.renewables}

    @property
    def units(self) -> dict[str, UnitBlock]:
        """Generators whose on and off the plan decides."""
        return {name: b for name, b in self.generators.items() if isinstance(b, UnitBlock)}

    @property
    def stores(self) -> dict[str, StoreBlock]:
        """Blocks that hold energy."""
        return {**self.batteries, **self.upses}

    @property
    def slowed_work(self) -> list[SlowedWork]:
        """Classes of work that slow along a curve when their power is cut."""
        return [work for cluster in self.clusters.values() for work in cluster.slowed_work]

    @property
    def colds(self) -> dict[str, ColdStore]:
        """Loops of plants that may be led, as stores of cold."""
        return {name: b.cold for name, b in self.coolings.items() if b.cold is not None}

    def power_kw(self, assets: Sequence[str]) -> cp.Expression:
        """Sum of the powers of some assets."""
        blocks = self.all
        return sum((blocks[a].power_kw for a in assets), start=cp.Constant(0.0))


def days_of(grid: TimeGrid) -> int:
    """The most local days a horizon can touch."""
    return int(np.ceil((grid.coarse_steps + 9) / 24.0)) + 1


def build_blocks(site: Site, grid: TimeGrid, duration_h: cp.Parameter) -> SiteBlocks:
    """One block per asset; clusters first, for what carries or cools them."""
    points = checkpoints(grid)
    clusters = {c.id: ClusterBlock(c, duration_h, points, grid.boundary_after_lag, grid.boundary_before_lag) for c in site.clusters}

    def it_kw(ids: Sequence[str]) -> cp.Expression:
        return sum((clusters[i].power_kw for i in ids if i in clusters), start=cp.Constant(np.zeros(grid.n)))

    return SiteBlocks(
        batteries={b.id: BatteryBlock(b, duration_h, days_of(grid)) for b in site.batteries},
        upses={u.id: UpsBlock(u, duration_h, it_kw(u.carries), days_of(grid)) for u in site.upses},
        clusters=clusters,
        coolings={c.id: CoolingBlock(c, it_kw(c.cools), duration_h) for c in site.coolings},
        fixed_loads={f.id: FixedLoadBlock(f, grid.n) for f in site.fixed_loads},
        generators={g.id: generator_block(g, duration_h, grid.first_within) for g in site.generators},
        renewables={r.id: RenewableBlock(r, duration_h) for r in site.renewables},
    )
