"""Generators and renewables in a replay: their energy, fuel, starts and hours, and the true course of sun and wind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ems.replay.future import TrueSeries
from ems.replay.world import World
from ems.site.model import Site
from simulators.plant import PlantStep, resources

GRID_S = 60.0
HISTORY_S = 3 * 86400.0


@dataclass
class GenerationSums:
    """Adds up plant steps; kWh, fuel units and starts per source, money and kg for all."""

    site: Site
    kwh: dict[str, float] = field(default_factory=dict)
    fuel: dict[str, float] = field(default_factory=dict)
    starts: dict[str, int] = field(default_factory=dict)
    curtailed_kwh: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._sources = [g.id for g in self.site.generators] + [r.id for r in self.site.renewables]
        self.kwh = dict.fromkeys(self._sources, 0.0)
        self.fuel = {g.id: 0.0 for g in self.site.generators}
        self.starts = {g.id: 0 for g in self.site.generators}
        self.curtailed_kwh = {r.id: 0.0 for r in self.site.renewables}

    def add(self, step: PlantStep) -> None:
        """Takes one plant step."""
        if not self._sources:
            return
        hours = step.dt_s / 3600.0
        for name in self._sources:
            self.kwh[name] -= step.asset_kw[name] * hours
        for name, units in step.fuel.items():
            self.fuel[name] += units
            self.starts[name] += step.starts[name]
        for name, available_kw in step.available_kw.items():
            self.curtailed_kwh[name] += max(0.0, available_kw + step.asset_kw[name]) * hours

    def fuel_cost(self) -> float:
        """Fuel, maintenance and starts."""
        return sum(
            g.fuel_price * self.fuel[g.id] + g.maintenance_price_per_kwh * self.kwh[g.id] + g.start_cost * self.starts[g.id]
            for g in self.site.generators
        )

    def purchase_cost(self) -> float:
        """What power-purchase agreements ask for power delivered and power not taken."""
        return sum(
            r.purchase_price_per_kwh * self.kwh[r.id] + r.curtailment_price_per_kwh * self.curtailed_kwh[r.id] for r in self.site.renewables
        )

    def co2_kg(self) -> float:
        """From fuel burnt on site."""
        return sum(g.co2_kg_per_fuel * self.fuel[g.id] for g in self.site.generators)

    def report(self, hours: dict[str, dict[str, dict[str, float]]]) -> dict[str, Any]:
        """The `generation` part of summary.json, per source; `hours` as the controller logged them, by year and reason."""
        out: dict[str, Any] = {}
        for g in self.site.generators:
            out[g.id] = {
                "duty": str(g.duty),
                "generation_kwh": self.kwh[g.id],
                "fuel": self.fuel[g.id],
                "fuel_unit": g.fuel_unit,
                "starts": self.starts[g.id],
                "run_hours": hours.get(g.id, {}),
            }
        for r in self.site.renewables:
            out[r.id] = {"generation_kwh": self.kwh[r.id], "curtailed_kwh": self.curtailed_kwh[r.id]}
        return out


def true_resources(world: World) -> dict[str, TrueSeries]:
    """What sun and wind give in kW per renewable, from three days before the window on."""
    begin_s = world.scenario.start.timestamp() - HISTORY_S
    points = np.arange(begin_s + GRID_S / 2, world.scenario.model.end.timestamp(), GRID_S)
    sources = resources(world.site, world.seed)
    return {r.id: TrueSeries.of(begin_s, GRID_S, r.power_kw * sources[r.id].over(points)) for r in world.site.renewables}
