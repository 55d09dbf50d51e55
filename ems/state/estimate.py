"""The state of the site from one image. What is missing is assumed on the safe side, and the state lists what it assumed.

A silent load counts as min(nameplate, parent meter - fresh siblings + margin); silent generation or discharge counts as none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from ems.assets.battery.model import Battery, BatteryState
from ems.assets.cooling.envelope import ASTRAY_K
from ems.assets.cooling.model import Cooling, CoolingState
from ems.assets.generator.model import CAUSES as START_CAUSES
from ems.assets.generator.model import MODES as RUN_MODES
from ems.assets.generator.model import Generator, GeneratorState
from ems.assets.grid_connection.model import ConnectionState
from ems.assets.renewable.model import Renewable, RenewableState
from ems.assets.ups.model import MODES, Ups, UpsState
from ems.assets.workload.model import CLASSES, DEFERRABLE, DUE_HOURS, ClassState, Cluster, ClusterState
from ems.site.model import Site
from ems.state.image import SiteImage

PartState = BatteryState | UpsState | ClusterState | CoolingState | GeneratorState | RenewableState
UNBALANCED = 0.1  # of the import limit: a larger difference between meter and devices means that one of them lies
LOCKED_OUT = 2.0  # of `is_local`: 0 remote, 1 in the hands of a person, 2 locked out
AN_HOUR_S = 3600.0  # weather moves slowly, and so does the water of a plant: an hour-old temperature is still one
DEW_POINT_S = 600.0  # a front moves it by 5 K in an hour: one older than this says nothing of the 2 K that are kept above it
DRIEST_C, WETTEST_C = -60.0, 40.0
SILENT_LOAD_MARGIN = 0.05  # of nameplate, added to what the parent meter leaves for a silent load


@dataclass(frozen=True, slots=True)
class SiteState:
    """Everything the guard and the arbiter look at. Powers in kW, positive into the thing."""

    now: datetime
    connection: ConnectionState
    batteries: dict[str, BatteryState]
    upses: dict[str, UpsState]
    clusters: dict[str, ClusterState]
    coolings: dict[str, CoolingState]
    fixed_kw: float
    poc_kw: float  # measured, or the sum of the parts when the meter is not to be trusted
    outdoor_temp_c: float | None
    assumed: tuple[str, ...]
    generators: dict[str, GeneratorState] = field(default_factory=dict)
    renewables: dict[str, RenewableState] = field(default_factory=dict)
    locked_out: frozenset[str] = frozenset()  # by a key, or a breaker that is racked out: a person may have his hands in it

    @property
    def generation_kw(self) -> float:
        """What generators and renewables give, never negative."""
        return sum(g.generation_kw for g in self.generators.values()) + sum(r.generation_kw for r in self.renewables.values())

    @property
    def it_kw(self) -> float:
        """IT power of all clusters."""
        return sum(c.power_kw for c in self.clusters.values())

    @property
    def cooling_kw(self) -> float:
        """Power of all cooling."""
        return sum(c.power_kw for c in self.coolings.values())

    @property
    def storage_kw(self) -> float:
        """Net battery power of all stores, charging positive."""
        return sum(b.power_kw for b in self.batteries.values()) + sum(u.battery_kw for u in self.upses.values())

    @property
    def load_kw(self) -> float:
        """Import without any storage; what the site generates itself is taken off."""
        return self.poc_kw - self.storage_kw


def estimate_state(site: Site, image: SiteImage, residual_kw: float | None) -> SiteState:
    """The state at `image.now`. `residual_kw` is the filtered difference at the meter that no device explains (the fixed load); None at
    the start, when the nameplates of the fixed loads are taken."""
    assumed: list[str] = []
    poc_id = site.point_of_connection.id
    poc = image.value(poc_id, "power_kw", site.control.stale_after_s)
    fixed_kw = residual_kw if residual_kw is not None else sum(f.power_kw for f in site.fixed_loads)
    batteries = {b.id: _battery(site, b, image, assumed) for b in site.batteries}
    coolings = {c.id: _cooling(site, c, image) for c in site.coolings}
    generators = {g.id: _generator(site, g, image, assumed) for g in site.generators}
    renewables = {r.id: _renewable(site, r, image, assumed) for r in site.renewables}
    given_kw = sum(g.power_kw for g in generators.values()) + sum(r.power_kw for r in renewables.values())
    unheard_kw = sum(g.power_kw for g in site.generators if not generators[g.id].is_fresh)
    unheard_kw += sum(r.power_kw for r in site.renewables if not renewables[r.id].is_fresh)
    clusters = _clusters(site, image, poc, batteries, coolings, fixed_kw + given_kw - unheard_kw, assumed)
    coolings = {
        c.id: coolings[c.id] if coolings[c.id].is_fresh else _assumed_cooling(c, coolings[c.id], image, clusters, assumed)
        for c in site.coolings
    }
    upses = {u.id: _ups(site, u, image, clusters, assumed) for u in site.upses}
    parts_kw = (
        sum(b.power_kw for b in batteries.values())
        + sum(u.power_kw for u in upses.values())
        + sum(c.power_kw for c in clusters.values())
        + sum(c.power_kw for c in coolings.values())
        + fixed_kw
        + given_kw
    )
    parts_kw += lost_on_feeders_kw(site, batteries, upses, clusters, coolings, generators, renewables)
    poc_kw, is_balanced = (parts_kw if poc is None else poc), True
    if poc is None:
        assumed.append(f"{poc_id}: no fresh meter, import taken as the sum of its parts")
    elif not assumed and abs(poc - parts_kw) > UNBALANCED * site.point_of_connection.import_limit_kw:
        assumed.append(f"{poc_id}: balance: meter {poc:.0f} kW, devices {parts_kw:.0f} kW; the larger is taken")
        poc_kw, is_balanced = max(poc, parts_kw), False
    temps = [c.outdoor_temp_c for c in coolings.values() if c.outdoor_temp_c is not None]
    return SiteState(
        now=image.now,
        connection=ConnectionState(poc, poc is not None, is_balanced, image.value(poc_id, "reactive_kvar", site.control.stale_after_s)),
        batteries=batteries,
        upses=upses,
        clusters=clusters,
        coolings=coolings,
        fixed_kw=fixed_kw,
        poc_kw=poc_kw,
        outdoor_temp_c=max(temps) if temps else None,
        assumed=tuple(assumed),
        generators=generators,
        renewables=renewables,
        locked_out=locked_out_in(site, image),
    )


def locked_out_in(site: Site, image: SiteImage) -> frozenset[str]:
    """The devices that say they are locked out: nothing at all is written to them."""
    return frozenset(a for a in site.links if image.value(a, "is_local", site.control.stale_after_s) == LOCKED_OUT)


def measured_residual_kw(site: Site, state: SiteState) -> float | None:
    """Import that no device explains, in kW; None unless the meter and every device are fresh, and where the devices say far more than the
    meter. Where the meter says far more, a load may be missing in the site file, and counts like every load nobody knows."""
    parts: list[PartState] = [
        *state.batteries.values(),
        *state.upses.values(),
        *state.clusters.values(),
        *state.coolings.values(),
        *state.generators.values(),
        *state.renewables.values(),
    ]
    meter_kw = state.connection.power_kw
    if meter_kw is None or not all(p.is_fresh for p in parts):
        return None
    lost_kw = lost_on_feeders_kw(site, state.batteries, state.upses, state.clusters, state.coolings, state.generators, state.renewables)
    residual_kw = meter_kw - sum(p.power_kw for p in parts) - lost_kw
    least_kw = sum(f.power_kw for f in site.fixed_loads) - UNBALANCED * site.point_of_connection.import_limit_kw
    return residual_kw if state.connection.is_balanced or residual_kw >= least_kw else None


def lost_on_feeders_kw(site: Site, *parts: Mapping[str, PartState]) -> float:
    """What is lost on the feeders for the powers of assets; 0 where the site file names no losses."""
    if site.worst_loss == 0.0:
        return 0.0
    return sum(site.losses.get(name, 0.0) * seen.power_kw for part in parts for name, seen in part.items())


def _battery(site: Site, battery: Battery, image: SiteImage, assumed: list[str]) -> BatteryState:
    stale_s = site.control.stale_after_s
    power, soc = image.value(battery.id, "power_kw", stale_s), image.value(battery.id, "soc", stale_s)
    if power is None or soc is None or battery.id in image.problems:
        assumed.append(f"{battery.id}: silent or not trusted, counted as delivering nothing")
        last = image.reading(battery.id, "power_kw")
        charging_kw = max(0.0, last.value) if last is not None and last.value is not None else 0.0
        return BatteryState(charging_kw, _last_soc(image, battery.id, battery.soc_min), 0.0, 0.0, is_fresh=False)
    hz = image.value(battery.id, "frequency_hz", stale_s)
    charge = image.value(battery.id, "max_charge_kw", stale_s)
    discharge = image.value(battery.id, "max_discharge_kw", stale_s)
    return BatteryState(
        power_kw=power,
        soc=soc,
        max_charge_kw=battery.power_kw if charge is None else charge,
        max_discharge_kw=battery.power_kw if discharge is None else discharge,
        is_fresh=True,
        is_local=bool(image.value(battery.id, "is_local", stale_s) or 0.0),
        droop_kw=battery.droop.range_kw(hz) if battery.droop is not None else (0.0, 0.0),
    )


def _last_soc(image: SiteImage, asset: str, otherwise: float) -> float:
    reading = image.reading(asset, "soc")
    return reading.value if reading is not None and reading.value is not None else otherwise


def _ups(site: Site, ups: Ups, image: SiteImage, clusters: dict[str, ClusterState], assumed: list[str]) -> UpsState:
    stale_s = site.control.stale_after_s
    carried_kw = sum(clusters[c].power_kw for c in ups.carries)
    power, soc = image.value(ups.id, "power_kw", stale_s), image.value(ups.id, "soc", stale_s)
    if power is None or soc is None or ups.id in image.problems:
        assumed.append(f"{ups.id}: silent or not trusted, counted as its losses and delivering nothing")
        return UpsState(ups.loss_fraction * carried_kw, carried_kw, 0.0, _last_soc(image, ups.id, 0.0), "fault", is_fresh=False)
    load = image.value(ups.id, "load_kw", stale_s)
    battery = image.value(ups.id, "battery_kw", stale_s)
    mode = image.value(ups.id, "mode", stale_s)
    known = mode is not None and 0 <= int(mode) < len(MODES)
    return UpsState(
        power_kw=power,
        load_kw=carried_kw if load is None else load,
        battery_kw=0.0 if battery is None else battery,
        soc=soc,
        mode=MODES[int(mode)] if known and mode is not None else "fault",
        is_fresh=True,
        is_local=bool(image.value(ups.id, "is_local", stale_s) or 0.0),
    )


def _cooling(site: Site, cooling: Cooling, image: SiteImage) -> CoolingState:
    stale_s = site.control.stale_after_s
    said_kw = image.value(cooling.id, "power_kw", stale_s)
    power = _load_value(said_kw, cooling.most_kw)
    temp = None if said_kw is None else image.value(cooling.id, "outdoor_temp_c", AN_HOUR_S)
    supply = image.value(cooling.id, "supply_temp_c", stale_s)
    able = image.value(cooling.id, "heat_capacity_kw", stale_s)
    return CoolingState(
        0.0 if power is None else power,
        temp,
        is_fresh=power is not None,
        supply_temp_c=supply,
        able_kw=able,
        flow_share=image.value(cooling.id, "flow_share", stale_s),
        has_leak=bool(image.value(cooling.id, "leak", stale_s) or 0.0),
        dew_point_c=_dew_point(image.value(cooling.id, "dew_point_c", DEW_POINT_S)),
    )


def _dew_point(said_c: float | None) -> float | None:
    """A dew point no air on earth has is not believed; with none the supply stays as commissioned."""
    return said_c if said_c is not None and DRIEST_C <= said_c <= WETTEST_C else None


def _generator(site: Site, generator: Generator, image: SiteImage, assumed: list[str]) -> GeneratorState:
    stale_s = site.control.stale_after_s
    power = _given_value(image.value(generator.id, "power_kw", stale_s), generator.power_kw)
    if power is None or generator.id in image.problems:
        assumed.append(f"{generator.id}: silent or not trusted, counted as giving nothing")
        return GeneratorState(0.0, "fault", 0.0, is_fresh=False)
    mode = image.value(generator.id, "mode", stale_s)
    cause = image.value(generator.id, "start_cause", stale_s)
    available = image.value(generator.id, "available_kw", stale_s)
    running = "loaded" if power < -0.01 * generator.power_kw else "off"
    return GeneratorState(
        power_kw=power,
        mode=RUN_MODES[int(mode)] if mode is not None and 0 <= int(mode) < len(RUN_MODES) else running,
        available_kw=generator.power_kw if available is None else available,
        is_fresh=True,
        carries_load=bool(image.value(generator.id, "carries_load", stale_s) or 0.0),
        is_local=bool(image.value(generator.id, "is_local", stale_s) or 0.0),
        cause=START_CAUSES[int(cause)] if cause is not None and 0 <= int(cause) < len(START_CAUSES) else "none",
        run_hours_h=image.value(generator.id, "run_hours_h", stale_s),
    )


def _renewable(site: Site, renewable: Renewable, image: SiteImage, assumed: list[str]) -> RenewableState:
    stale_s = site.control.stale_after_s
    power = _given_value(image.value(renewable.id, "power_kw", stale_s), renewable.power_kw)
    if power is None or renewable.id in image.problems:
        assumed.append(f"{renewable.id}: silent or not trusted, counted as giving nothing")
        return RenewableState(0.0, None, is_fresh=False)
    available = image.value(renewable.id, "available_kw", stale_s)
    return RenewableState(power, available, is_fresh=True, is_local=bool(image.value(renewable.id, "is_local", stale_s) or 0.0))


def _given_value(kw: float | None, rating_kw: float) -> float | None:
    """A source that says it draws more than its own use, or gives far more than it can, is not believed."""
    return kw if kw is not None and -1.1 * rating_kw <= kw <= 0.1 * rating_kw else None


def _load_value(kw: float | None, rating_kw: float) -> float | None:
    """A load that says it generates, or draws far more than it can, is not believed."""
    return kw if kw is not None and -0.02 * rating_kw <= kw <= 1.5 * rating_kw else None


def _assumed_cooling(
    cooling: Cooling, seen: CoolingState, image: SiteImage, clusters: dict[str, ClusterState], assumed: list[str]
) -> CoolingState:
    """Its worst share of IT power; a plant last seen warm takes the loop's heat out with all it has. What else it says is kept."""
    supply_c = image.value(cooling.id, "supply_temp_c", AN_HOUR_S)
    if cooling.plant is not None and supply_c is not None and supply_c > cooling.plant.supply_temp_c + ASTRAY_K:
        assumed.append(f"{cooling.id}: silent, or shows a power it cannot draw; its loop is warm, counted as its full power")
        return replace(seen, power_kw=cooling.most_kw)
    assumed.append(f"{cooling.id}: silent, or shows a power it cannot draw; counted as its worst share of IT power")
    worst_kw = cooling.fraction(None) * sum(clusters[c].power_kw for c in cooling.cools)
    return replace(seen, power_kw=min(cooling.most_kw, worst_kw))


def _clusters(
    site: Site,
    image: SiteImage,
    poc_kw: float | None,
    batteries: dict[str, BatteryState],
    coolings: dict[str, CoolingState],
    fixed_kw: float,
    assumed: list[str],
) -> dict[str, ClusterState]:
    stale_s = site.control.stale_after_s
    known = {c.id: _load_value(image.value(c.id, "power_kw", stale_s), c.rating_kw) for c in site.clusters}
    siblings_kw = sum(v for v in known.values() if v is not None)
    others_kw = sum(b.power_kw for b in batteries.values()) + sum(c.power_kw for c in coolings.values()) + fixed_kw
    left_kw = None if poc_kw is None else poc_kw - others_kw - siblings_kw
    states = {}
    for cluster in site.clusters:
        power = known[cluster.id]
        if power is None:
            states[cluster.id] = _silent_cluster(cluster, left_kw, assumed)
        else:
            states[cluster.id] = _fresh_cluster(site, cluster, power, image)
    return states


def _silent_cluster(cluster: Cluster, left_kw: float | None, assumed: list[str]) -> ClusterState:
    margin_kw = SILENT_LOAD_MARGIN * cluster.rating_kw
    power_kw = cluster.rating_kw if left_kw is None else min(cluster.rating_kw, max(0.0, left_kw) + margin_kw)
    assumed.append(f"{cluster.id}: silent, counted as {power_kw:.0f} kW")
    none = {c: ClassState(0.0, 0.0, tuple(0.0 for _ in DUE_HOURS)) for c in CLASSES}
    return ClusterState(power_kw, power_kw, None, none, is_fresh=False)


def _fresh_cluster(site: Site, cluster: Cluster, power_kw: float, image: SiteImage) -> ClusterState:
    stale_s = site.control.stale_after_s
    demand = image.value(cluster.id, "demand_kw", stale_s)
    demand_kw = power_kw if demand is None else demand
    dynamic_kw = max(0.0, demand_kw - cluster.idle_kw)
    classes = {}
    for name, work in cluster.classes.items():
        own = image.value(cluster.id, f"{name}_demand_kw", stale_s)
        backlog = image.value(cluster.id, f"{name}_backlog_kwh", stale_s) if name in DEFERRABLE else None
        due = tuple(image.value(cluster.id, f"{name}_due_{h}h_kwh", stale_s) or 0.0 for h in DUE_HOURS) if name in DEFERRABLE else ()
        classes[name] = ClassState(work.share * dynamic_kw if own is None else own, backlog or 0.0, due)
    cap = image.command(cluster.id, "power_cap_kw", stale_s)
    is_local = bool(image.value(cluster.id, "is_local", stale_s) or 0.0)
    return ClusterState(power_kw, demand_kw, cap, classes, is_fresh=cluster.id not in image.problems, is_local=is_local)
