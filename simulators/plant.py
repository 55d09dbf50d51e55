"""The whole simulated site as one object: devices, their electrical node, and the truth that no device tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from zoneinfo import ZoneInfo

from ems.assets.cooling.model import Cooling
from ems.site.model import Feeder, Site
from simulators.devices.battery import BatteryDevice
from simulators.devices.chilled_water import ChilledWaterDevice, LedChilledWaterDevice
from simulators.devices.cluster import ClassWork, ClusterDevice, Demand
from simulators.devices.cooling import CoolingDevice
from simulators.devices.device import Device
from simulators.devices.generator import GeneratorDevice
from simulators.devices.meter import MeterDevice
from simulators.devices.renewable import RenewableDevice
from simulators.devices.ups import UpsDevice
from simulators.irradiance import Resource
from simulators.weather import MoistAir

__all__ = ["ClassWork", "Demand", "Plant", "PlantStep"]


@dataclass(slots=True)
class PlantStep:
    """The truth of one step `[at, at + dt_s)`: powers are means in kW, energies in stores stand at the step's start."""

    at: datetime
    dt_s: float
    poc_kw: float  # exactly the sum of asset_kw
    asset_kw: dict[str, float]
    feeder_kw: dict[str, float]
    it_kw: float
    cooling_kw: float
    loss_kw: float  # of UPSs and feeders
    store_kw: dict[str, float]  # battery power per store, charging positive
    stored_kwh: dict[str, float]
    soc_breach_kwh: float  # energy moved outside state-of-charge windows
    reserve_shortfall_kwh: dict[str, float]  # per UPS: what is missing to carry its load for the promised minutes
    work: dict[str, dict[str, ClassWork]]  # cluster -> class -> energies
    prompt_tokens: float
    output_tokens: float
    generation_kwh: float = 0.0  # of everything that generates
    fuel: dict[str, float] = field(default_factory=dict)  # per generator, units burnt
    outdoor_temp_c: float | None = None
    thermal_breach_s: float = 0.0  # of the step, with a supply above what chips stand
    dew_breach_s: float = 0.0  # of the step, with a supply led nearer to the dew point than is dry
    starts: dict[str, int] = field(default_factory=dict)  # per generator, starts begun
    available_kw: dict[str, float] = field(default_factory=dict)  # per renewable, what sun or wind gave

    @property
    def reserve_ok(self) -> dict[str, bool]:
        """Per UPS: whether the store could carry the actual load for the promised minutes."""
        return {ups: missing <= 0.0 for ups, missing in self.reserve_shortfall_kwh.items()}


class Plant:
    """Steps all devices of a site together. Same site, seed, demand, weather, commands and step lengths give the same truth.

    With `starts_lapsed` the clusters begin at their contract caps, as equipment without a master does; else without any cap.
    """

    def __init__(self, site: Site, seed: int, starts_lapsed: bool = False) -> None:
        self.site = site
        poc = site.point_of_connection
        self.meter = MeterDevice(poc.id, _rng(seed, poc.id))
        self.batteries = [BatteryDevice(a, _rng(seed, a.id)) for a in site.batteries]
        self.upses = [UpsDevice(a, _rng(seed, a.id)) for a in site.upses]
        self.clusters = [ClusterDevice(a, _rng(seed, a.id)) for a in site.clusters]
        self.coolings: list[CoolingDevice | ChilledWaterDevice] = [cooling_device(a, _rng(seed, a.id)) for a in site.coolings]
        self.devices: dict[str, Device] = {d.id: d for d in (self.meter, *self.batteries, *self.upses, *self.clusters, *self.coolings)}
        self.generators = [GeneratorDevice(a, _rng(seed, a.id)) for a in site.generators]
        self.renewables = [RenewableDevice(a, _rng(seed, a.id)) for a in site.renewables]
        self.resources = resources(site, seed)
        self.devices |= {d.id: d for d in (*self.generators, *self.renewables)}
        self._led = [c for c in self.coolings if isinstance(c, LedChilledWaterDevice)]
        self._air = MoistAir(seed)
        self._fixed = {a.id: a.power_kw for a in site.fixed_loads}
        self._fixed_kw = sum(self._fixed.values())
        self._cluster_by_id = {c.id: c for c in self.clusters}
        self._feeders = {f.id: assets_below(f, site.feeders) for f in site.feeders}
        self._losses = tuple(lost_on(f) for f in site.feeders if f.loss_fraction > 0.0)
        self._is_lossy = bool(self._losses)
        if starts_lapsed:
            for cluster in self.clusters:
                cluster.lapse()

    def step(
        self, dt_s: float, at: datetime, demand: Mapping[str, Demand], outdoor_temp_c: float, dew_point_c: float | None = None
    ) -> PlantStep:
        """Moves the whole site over `[at, at + dt_s)`; `demand` has one entry per cluster. Without a dew point the air has its own."""
        at_s = at.timestamp()
        for led in self._led:
            led.dew_point_c = self._air.dew_point_c(at_s, outdoor_temp_c) if dew_point_c is None else dew_point_c
        stored = {d.id: d.energy_kwh for d in self.batteries} | {d.id: d.energy_kwh for d in self.upses}
        for cluster in self.clusters:
            cluster.step(dt_s, at_s, demand[cluster.id])
        self._step_rest(dt_s, at_s, outdoor_temp_c)
        asset_kw = {d.id: d.power_kw for d in self.devices.values() if d is not self.meter}
        asset_kw.update(self._fixed)
        now_kw = sum(d.power_now_kw for d in self.devices.values() if d is not self.meter) + self._fixed_kw
        if self._is_lossy:
            at_once_kw = {d.id: d.power_now_kw for d in self.devices.values() if d is not self.meter} | self._fixed
            now_kw += sum(feeder_losses_kw(self.site.feeders, at_once_kw).values())
            asset_kw.update(feeder_losses_kw(self.site.feeders, asset_kw))
        poc_kw = sum(asset_kw.values())
        self.meter.step(dt_s, at_s, poc_kw, now_kw)
        truth = self._truth(at, dt_s, poc_kw, asset_kw, stored)
        truth.outdoor_temp_c = outdoor_temp_c
        return truth

    def finish(self) -> dict[str, dict[str, float]]:
        """Ends the window: all work that still waits is dropped and returned, cluster -> class -> kWh."""
        return {c.id: c.drop_rest() for c in self.clusters}

    def _step_rest(self, dt_s: float, at_s: float, outdoor_temp_c: float) -> None:
        clusters = self._cluster_by_id
        for ups in self.upses:
            ups.step(dt_s, at_s, sum(clusters[c].power_kw for c in ups.rating.carries))
        for battery in self.batteries:
            battery.step(dt_s, at_s, outdoor_temp_c)
        for generator in self.generators:
            generator.step(dt_s, at_s)
        for renewable in self.renewables:
            renewable.step(dt_s, at_s, self.resources[renewable.id].at(at_s + 0.5 * dt_s))
        for cooling in self.coolings:
            cooling.step(dt_s, at_s, sum(clusters[c].power_kw for c in cooling.rating.cools), outdoor_temp_c)

    def _truth(self, at: datetime, dt_s: float, poc_kw: float, asset_kw: dict[str, float], stored: dict[str, float]) -> PlantStep:
        return PlantStep(
            at=at,
            dt_s=dt_s,
            poc_kw=poc_kw,
            asset_kw=asset_kw,
            feeder_kw={feeder: sum(asset_kw[a] for a in assets if a in asset_kw) for feeder, assets in self._feeders.items()},
            it_kw=sum(c.power_kw for c in self.clusters),
            cooling_kw=sum(c.power_kw for c in self.coolings),
            loss_kw=sum(u.loss_kw for u in self.upses) + sum(asset_kw.get(name, 0.0) for name in self._losses),
            store_kw={b.id: b.power_kw for b in self.batteries} | {u.id: u.battery_kw for u in self.upses},
            stored_kwh=stored,
            soc_breach_kwh=sum(b.soc_breach_kwh for b in self.batteries),
            reserve_shortfall_kwh={u.id: u.reserve_shortfall_kwh for u in self.upses},
            work={c.id: c.work for c in self.clusters},
            prompt_tokens=sum(c.prompt_tokens for c in self.clusters),
            output_tokens=sum(c.output_tokens for c in self.clusters),
            generation_kwh=-sum(d.power_kw for d in (*self.generators, *self.renewables)) * dt_s / 3600.0,
            fuel={g.id: g.fuel for g in self.generators},
            starts={g.id: g.starts for g in self.generators},
            thermal_breach_s=dt_s if any(c.is_too_warm for c in self.coolings) else 0.0,
            dew_breach_s=dt_s if any(c.is_too_cold for c in self._led) else 0.0,
            available_kw={r.id: r.available_kw for r in self.renewables},
        )


def resources(site: Site, seed: int) -> dict[str, Resource]:
    """Sun and wind per renewable: generated, by the standard time of the site."""
    january = datetime(2024, 1, 15, tzinfo=ZoneInfo(site.time_zone)).utcoffset()
    offset_h = january.total_seconds() / 3600.0 if january is not None else 0.0
    return {r.id: Resource(r.technology, seed, r.id, offset_h) for r in site.renewables}


def cooling_device(rating: Cooling, rng: Random) -> CoolingDevice | ChilledWaterDevice:
    """The simulated equipment of a cooling system."""
    if rating.plant is None:
        return CoolingDevice(rating, rng)
    return LedChilledWaterDevice(rating, rng) if rating.is_led else ChilledWaterDevice(rating, rng)


def lost_on(feeder: Feeder) -> str:
    """The name under which a feeder's losses stand among the assets."""
    return f"{feeder.id}-losses"


def feeder_losses_kw(feeders: tuple[Feeder, ...], asset_kw: Mapping[str, float]) -> dict[str, float]:
    """What each feeder with losses loses: its fraction of what flows out of it, the losses of its branches among that."""
    lost: dict[str, float] = {}

    def into(feeder: Feeder) -> float:
        out_kw = sum(asset_kw[a] for a in feeder.assets) + sum(into(f) for f in feeders if f.parent == feeder.id)
        loss_kw = feeder.loss_fraction * abs(out_kw)
        if feeder.loss_fraction > 0.0:
            lost[lost_on(feeder)] = loss_kw
        return out_kw + loss_kw

    for root in feeders:
        if root.parent is None:
            into(root)
    return lost


def assets_below(feeder: Feeder, feeders: tuple[Feeder, ...]) -> tuple[str, ...]:
    """All assets behind a feeder and its own losses, those of its branches included."""
    below = [*feeder.assets, lost_on(feeder)] if feeder.loss_fraction > 0.0 else list(feeder.assets)
    for child in feeders:
        if child.parent == feeder.id:
            below.extend(assets_below(child, feeders))
    return tuple(below)


def _rng(seed: int, asset_id: str) -> Random:
    return Random(f"{seed}:{asset_id}")
