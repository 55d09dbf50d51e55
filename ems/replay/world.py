"""Everything outside the controller that one replay needs, on the plant's own steps: demand, prices, weather, limits, events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from ems.assets.battery.model import Battery
from ems.assets.ups.model import Ups
from ems.errors import DataError
from ems.obligation import Obligation, ObligationKind
from ems.replay.demand import ClusterDemand, read_demand
from ems.replay.mismatch import plant_of
from ems.replay.scenario import EventEntry, Scenario
from ems.replay.signals import DEFAULT_PRICE_PER_KWH, Signals, Steps, read_signals, truth
from ems.site.model import Site
from ems.site.tariff import MARKET, Tariff
from ems.site.tariff_prices import price_at
from simulators.devices.cluster import Demand
from simulators.weather import generated_temp_c

CHUNK = 4096  # plant steps whose demand is unpacked at a time


@dataclass(frozen=True)
class World:
    """The truth outside the fence, one value per plant step from the window's start."""

    scenario: Scenario
    site: Site  # as the controller gets it: its cycle is the replay's control step
    plant: Site  # as the equipment really is: what is simulated, accounted and bounded
    seed: int
    demand: dict[str, ClusterDemand]
    signals: Signals
    price: np.ndarray  # what one kWh of import costs, adder included
    temp_c: np.ndarray
    dew_point_c: np.ndarray | None  # None: the plant's own
    carbon_g: np.ndarray | None
    quality: dict[str, Any]

    @property
    def steps(self) -> int:
        """Plant steps in the window."""
        return len(self.price)

    @property
    def has_tokens(self) -> bool:
        """True when the traces say how many tokens were asked for."""
        return any(d.has_tokens for d in self.demand.values())

    def rows(self) -> Iterator[dict[str, Demand]]:
        """What each cluster is asked for, plant step by plant step."""
        for first in range(0, self.steps, CHUNK):
            yield from self.part(first, min(CHUNK, self.steps - first))

    def part(self, first: int, n: int) -> list[dict[str, Demand]]:
        """`n` plant steps from `first` (negative: history)."""
        unpacked = {name: _unpack(demand, first, n) for name, demand in self.demand.items()}
        names = list(unpacked)
        rows = zip(*unpacked.values(), strict=True) if unpacked else [()] * n  # a site without clusters
        return [dict(zip(names, row, strict=True)) for row in rows]


def build_world(scenario: Scenario, seed: int) -> World:
    """Reads every file of the scenario. DataError says which one cannot be used."""
    real = plant_of(scenario.site, scenario.model.mismatch, seed)
    demand = read_demand(scenario, seed, real)
    signals = read_signals(scenario)
    start_s, step = scenario.start.timestamp(), scenario.plant_step_s
    points = start_s + (np.arange(scenario.cycles * scenario.substeps) + 0.5) * step
    tariff = scenario.site.tariff
    market, unpriced = truth(*market_series(tariff, signals), points, DEFAULT_PRICE_PER_KWH)
    period_price = price_at(tariff, scenario.site.time_zone, np.asarray(points, float))[0]
    price = (market if tariff.is_market else np.zeros_like(market)) + tariff.energy_price_per_kwh + period_price
    quality: dict[str, Any] = {name: d.quality for name, d in demand.items()} | dict(signals.quality)
    if signals.price is not None:
        quality["prices"]["steps_without_price"] = unpriced
    control = replace(scenario.site.control, cycle_s=scenario.control_step_s, stale_after_s=max(5.0, 2.5 * scenario.control_step_s))
    plan = replace(scenario.site.plan, every_s=scenario.model.plan_every_s)
    site, plant = (replace(s, control=control, plan=plan) for s in (scenario.site, real))
    return World(
        scenario,
        site,
        plant,
        seed,
        demand,
        signals,
        price,
        _temperature(signals, points, quality),
        truth(signals.dew_point, None, points, 0.0)[0] if signals.dew_point is not None else None,
        _carbon(signals, points, quality),
        quality,
    )


def market_series(tariff: Tariff, signals: Signals) -> tuple[Steps | None, Steps | None]:
    """The market series a tariff follows, and what stands in where it has no value. Raises DataError where only exports follow one: the
    account of a replay knows the price of imports alone and would give them away."""
    if tariff.export_energy in MARKET and not tariff.is_market:
        raise DataError(f"a replay cannot bill exports at a market price ({tariff.export_energy}) beside imports at a fixed one")
    real_time, day_ahead = signals.price, signals.day_ahead
    return (day_ahead, real_time) if tariff.energy == "day_ahead" else (real_time, day_ahead)


def stores(site: Site) -> list[Battery | Ups]:
    """Everything that holds energy, batteries first."""
    return [*site.batteries, *site.upses]


def obligation(entry: EventEntry, number: int, baseline_kw: float, limit_kw: float) -> Obligation:
    """The event as announced; a fraction is of the baseline (mean import of the hour before notice), or of the limit itself."""
    kind = ObligationKind(entry.kind)
    base = limit_kw if kind is ObligationKind.IMPORT_LIMIT else baseline_kw
    kw = entry.kw if entry.kw is not None else (entry.fraction or 0.0) * base
    return Obligation(f"{entry.program}-{number}", kind, kw, entry.start, entry.end, entry.notice_at, entry.program, baseline_kw)


def encode_obligation(o: Obligation) -> dict[str, Any]:
    """The event as the office would post it."""
    times = {"start": o.start.isoformat(), "end": o.end.isoformat(), "notice_at": o.notice_at.isoformat()}
    return {"id": o.id, "kind": o.kind.value, "kw": o.kw, **times, "program": o.program, "baseline_kw": o.baseline_kw}


def instant(world: World, step: int) -> datetime:
    """The start of a plant step."""
    return world.scenario.start + timedelta(seconds=step * world.scenario.plant_step_s)


def _unpack(demand: ClusterDemand, first: int, n: int) -> list[Demand]:
    begin = demand.starts_at + first
    columns = (*(demand.class_kw[c] for c in ("interactive", "batch", "training")), demand.prompt_per_s, demand.output_per_s)
    return [Demand(*row) for row in zip(*(c[max(0, begin) : begin + n].tolist() for c in columns), strict=True)]


def _temperature(signals: Signals, points: np.ndarray, quality: dict[str, Any]) -> np.ndarray:
    if signals.temp is None:
        quality["weather"] = {"generated": 1}
        return np.array([generated_temp_c(at_s) for at_s in points.tolist()])
    temp, held = truth(signals.temp, None, points, 25.0)
    quality["weather"]["steps_held"] = held
    return temp


def _carbon(signals: Signals, points: np.ndarray, quality: dict[str, Any]) -> np.ndarray | None:
    if signals.carbon is None:
        return None
    carbon, held = truth(signals.carbon, None, points, 0.0)
    quality["carbon"]["steps_held"] = held
    return carbon
