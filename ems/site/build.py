"""From the validated file to the frozen Site: defaults that depend on other keys are worked out here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ems.assets.asset import DeviceLink
from ems.assets.battery.droop import Droop
from ems.assets.battery.model import Battery
from ems.assets.catalogue import Asset
from ems.assets.cooling.model import Cooling, worst_fraction
from ems.assets.cooling.plant import HOTTEST_C, CoolingPlant
from ems.assets.fixed_load.model import FixedLoad
from ems.assets.grid_connection.model import PointOfConnection
from ems.assets.ups.model import Ups
from ems.assets.workload.model import CLASSES, Cluster, WorkloadClass
from ems.limit import Limit, LimitKind
from ems.site.build_generation import build_generator, build_renewable
from ems.site.model import ControlSettings, Feeder, PlanSettings, Site
from ems.site.schema import FeederFile, LimitFile, PointOfConnectionFile, SiteFile
from ems.site.schema_alarms import build_hook
from ems.site.schema_assets import AssetFile, BatteryFile, ClassFile, ClusterFile, CoolingFile, FixedLoadFile, LinkFile, UpsFile, as_points
from ems.site.schema_feeds import build_feed
from ems.site.schema_generation import GeneratorFile, RenewableFile
from ems.site.tariff_build import build_tariff

NO_ASSETS: Mapping[str, AssetFile] = {}


def build_site(file: SiteFile) -> Site:
    """The site, with contract caps for the clusters that name none."""
    connection = build_connection(file.point_of_connection)
    caps = contract_caps(file.assets, connection.lasting_limit_kw / worst_gain(file.feeders))
    return Site(
        name=file.name,
        time_zone=file.time_zone,
        currency=file.currency,
        point_of_connection=connection,
        assets={a.id: a for name, asset in file.assets.items() for a in build_assets(name, asset, file, caps)},
        feeders=tuple(build_feeder(f, file.assets) for f in file.feeders),
        tariff=build_tariff(file.tariff),
        control=ControlSettings(**file.control.model_dump()),
        plan=PlanSettings(**file.plan.model_dump()),
        live_feeds=tuple(build_feed(name, feed) for name, feed in file.feeds.items()),
        alarm_hooks=tuple(build_hook(name, hook) for name, hook in file.alarms.items()),
    )


def contract_caps(assets: Mapping[str, AssetFile], import_limit_kw: float) -> dict[str, float]:
    """The cap in kW each cluster lapses to.

    (import limit - fixed load) / (1 + worst cooling + losses), split by rating and at most the rating, unless the file names one.
    """
    clusters = {name: asset for name, asset in assets.items() if isinstance(asset, ClusterFile)}
    total_kw = sum(rating_kw(cluster) for cluster in clusters.values())
    spare_kw = import_limit_kw - fixed_kw(assets)
    per_it_kw = max((overhead(name, assets) for name in clusters), default=1.0)
    share = spare_kw / per_it_kw / total_kw if total_kw else 0.0
    return {
        name: cluster.contract_cap_kw if cluster.contract_cap_kw is not None else min(1.0, share) * rating_kw(cluster)
        for name, cluster in clusters.items()
    }


def overhead(cluster: str, assets: Mapping[str, AssetFile]) -> float:
    """kW at the meter per kW of a cluster's IT power in the worst weather: 1 + cooling + losses."""
    cooling = sum(worst_cooling(a, assets) for a in assets.values() if isinstance(a, CoolingFile) and cluster in a.cools)
    losses = sum(worst_loss_fraction(a, assets) for a in assets.values() if isinstance(a, UpsFile) and cluster in a.carries)
    return 1.0 + cooling + losses


def fixed_kw(assets: Mapping[str, AssetFile]) -> float:
    """What the site draws whatever is commanded: fixed loads and the batteries' auxiliaries."""
    loads = sum(a.power_kw for a in assets.values() if isinstance(a, FixedLoadFile))
    return loads + sum(a.auxiliary_kw * a.strings for a in assets.values() if isinstance(a, BatteryFile))


def rating_kw(cluster: ClusterFile) -> float:
    """The most a cluster can draw; 1.2 x its peak unless the file says otherwise."""
    return cluster.rating_kw if cluster.rating_kw is not None else 1.2 * cluster.peak_kw


def build_connection(file: PointOfConnectionFile) -> PointOfConnection:
    """The point of connection; the short form `import_limit_kw` becomes the first record."""
    short = [Limit(kw=file.import_limit_kw, kind=LimitKind.PROTECTIVE, window_s=1.0)] if file.import_limit_kw is not None else []
    return PointOfConnection(
        id=file.id,
        limits=(*short, *(build_limit(limit) for limit in file.limits)),
        export_limit_kw=file.export_limit_kw,
        ramp_limit_kw_per_min=file.ramp_limit_kw_per_min,
        import_breach_price_per_kwh=file.import_breach_price_per_kwh,
        meter=build_link(file.meter),
    )


def build_limit(file: LimitFile) -> Limit:
    """One limit record."""
    return Limit(
        kw=file.rated_kw,
        kind=LimitKind(file.kind),
        window_s=file.window_s,
        tolerance=file.tolerance,
        source=file.source,
        consequence=file.consequence,
        valid_from=file.valid_from,
        valid_to=file.valid_to,
        kva=file.kva,
        power_factor=file.power_factor,
        curve=as_points(file.curve),
        heartbeat_s=file.heartbeat_s,
        fail_safe_kw=file.fail_safe_kw,
    )


def build_link(file: LinkFile | None) -> DeviceLink | None:
    """A device link, None for an asset nobody talks to."""
    return None if file is None else DeviceLink(file.page, file.host, file.port, file.unit_id, file.lease_s)


def build_feeder(file: FeederFile, assets: Mapping[str, AssetFile]) -> Feeder:
    """A feeder; strings hang on it one by one."""
    ids = tuple(i for a in file.assets for i in ids_of(a, assets))
    return Feeder(file.id, file.parent, file.rated_kw, ids, as_points(file.limit_by_ambient_c), file.partner, file.loss_fraction)


def worst_gain(feeders: Sequence[FeederFile], above: str | None = None) -> float:
    """kW into the site (or out of the feeder `above`) per kW of the asset whose way down loses most."""
    return max((_gain_up_to(f, above, feeders) for f in feeders), default=1.0)


def _gain_up_to(feeder: FeederFile, above: str | None, feeders: Sequence[FeederFile]) -> float:
    """1 for a feeder that does not hang below `above`, as in a tree with a circle, which is refused elsewhere."""
    parents, gain, here = {f.id: f for f in feeders}, 1.0, feeder.id
    for _ in feeders:
        if here == above or here not in parents:
            return 1.0
        gain *= 1.0 + parents[here].loss_fraction
        parent = parents[here].parent
        if parent == above:
            return gain
        here = parent or ""
    return 1.0


def ids_of(name: str, assets: Mapping[str, AssetFile]) -> list[str]:
    """The asset ids an entry of the file stands for: its own, or one per string."""
    entry = assets.get(name)
    return string_ids(name, entry.strings) if isinstance(entry, BatteryFile) else [name]


def string_ids(name: str, strings: int) -> list[str]:
    """`name-001`, `name-002`, ...; the name alone for a single battery."""
    return [name] if strings == 1 else [f"{name}-{n:03d}" for n in range(1, strings + 1)]


def build_assets(name: str, file: AssetFile, site: SiteFile, caps: Mapping[str, float]) -> list[Asset]:
    """The assets of one entry: several only for a battery of several strings."""
    if isinstance(file, BatteryFile) and file.strings > 1:
        return [replace(build_battery(i, string_file(file, n)), string_of=name) for n, i in enumerate(string_ids(name, file.strings))]
    return [build_asset(name, file, site, caps)]


def string_file(file: BatteryFile, n: int) -> BatteryFile:
    """The entry as its n-th string sees it: its device answers n ports further on."""
    if file.link is None:
        return file
    return file.model_copy(update={"link": file.link.model_copy(update={"port": file.link.port + n})})


def build_asset(name: str, file: AssetFile, site: SiteFile, caps: Mapping[str, float]) -> Asset:
    """The frozen ratings of one asset."""
    if isinstance(file, BatteryFile):
        return build_battery(name, file)
    if isinstance(file, UpsFile):
        return build_ups(name, file, site.assets)
    if isinstance(file, ClusterFile):
        return build_cluster(name, file, caps[name])
    if isinstance(file, CoolingFile):
        return build_cooling(name, file, site.assets)
    if isinstance(file, GeneratorFile):
        return build_generator(name, file, build_link(file.link))
    if isinstance(file, RenewableFile):
        return build_renewable(name, file, build_link(file.link))
    return FixedLoad(id=name, power_kw=file.power_kw)


def build_battery(name: str, file: BatteryFile) -> Battery:
    """A battery; without a ramp it reaches its rating within one second."""
    return Battery(
        id=name,
        power_kw=file.power_kw,
        energy_kwh=file.energy_kwh * file.state_of_health,
        charge_efficiency=file.charge_efficiency,
        discharge_efficiency=file.discharge_efficiency,
        soc_min=file.soc_min,
        soc_max=file.soc_max,
        wear_price_per_kwh=0.0 if file.wear_by_depth else file.wear_price_per_kwh,
        ramp_kw_per_s=file.power_kw if file.ramp_kw_per_s is None else file.ramp_kw_per_s,
        initial_soc=file.initial_soc,
        auxiliary_kw=file.auxiliary_kw,
        link=build_link(file.link),
        chemistry=file.chemistry,
        charge_limit_by_soc=as_points(file.charge_limit_by_soc),
        discharge_limit_by_soc=as_points(file.discharge_limit_by_soc),
        limit_by_ambient_c=as_points(file.limit_by_ambient_c),
        wear_by_depth=as_points(file.wear_by_depth),
        warranty_kwh_per_day=file.warranty_kwh_per_day,
        is_worn_out=file.state_of_health <= file.end_of_life_capacity,
        droop=build_droop(file),
    )


def build_droop(file: BatteryFile) -> Droop | None:
    """The droop of its firmware; without a bound it may use all of the rating."""
    if file.droop is None:
        return None
    most_kw = file.power_kw if file.droop.most_kw is None else min(file.power_kw, file.droop.most_kw)
    return Droop(file.droop.kw_per_hz, file.droop.deadband_hz, float(file.droop.nominal_hz), most_kw)


def worst_loss_fraction(file: UpsFile, assets: Mapping[str, AssetFile]) -> float:
    """Losses per kW of load where they are worst: with a curve, at the least load it carries or at the most."""
    if not file.loss_curve:
        return file.loss_fraction
    a, b, c = file.loss_curve
    idle_kw = sum(cluster.idle_kw for i in file.carries if isinstance(cluster := assets.get(i), ClusterFile))
    least = min(max(idle_kw / file.rating_kw, 0.1), 1.0)  # below a tenth the share says little and the kW are few
    return max(a / x + b + c * x for x in (least, 1.0))


def build_ups(name: str, file: UpsFile, assets: Mapping[str, AssetFile] = NO_ASSETS) -> Ups:
    """A UPS; without a floor the reserve is kept for its whole rating."""
    return Ups(
        id=name,
        rating_kw=file.rating_kw,
        energy_kwh=file.energy_kwh,
        ride_through_min=file.ride_through_min,
        is_bidirectional=file.is_bidirectional,
        is_lead_acid=file.is_lead_acid,
        charge_kw=file.charge_kw,
        charge_efficiency=file.charge_efficiency,
        discharge_efficiency=file.discharge_efficiency,
        loss_fraction=worst_loss_fraction(file, assets),
        aged_capacity=file.aged_capacity,
        blocks=file.blocks,
        redundant_blocks=file.redundant_blocks,
        reserve_floor_kw=file.rating_kw if file.reserve_floor_kw is None else file.reserve_floor_kw,
        soc_error=file.soc_error,
        wear_price_per_kwh=file.wear_price_per_kwh,
        ramp_kw_per_s=file.rating_kw if file.ramp_kw_per_s is None else file.ramp_kw_per_s,
        initial_soc=file.initial_soc,
        is_grid_interactive=file.is_grid_interactive,
        carries=tuple(file.carries),
        link=build_link(file.link),
        loss_curve=tuple(file.loss_curve),
        recharge_kw=file.recharge_kw,
        walk_in_s=file.walk_in_s,
        cell_kwh_per_day=file.cell_kwh_per_day,
    )


def build_class(file: ClassFile, cluster: ClusterFile) -> WorkloadClass:
    """A class of work; without a throughput curve of its own it has its cluster's."""
    curve = as_points(file.throughput_by_power or cluster.throughput_by_power)
    return WorkloadClass(**{**file.model_dump(), "throughput_by_power": curve})


def build_cluster(name: str, file: ClusterFile, contract_cap_kw: float) -> Cluster:
    """A cluster; without a ramp its power may move by its rating within one second."""
    return Cluster(
        id=name,
        idle_kw=file.idle_kw,
        peak_kw=file.peak_kw,
        rating_kw=rating_kw(file),
        contract_cap_kw=contract_cap_kw,
        ramp_kw_per_s=rating_kw(file) if file.ramp_kw_per_s is None else file.ramp_kw_per_s,
        classes={c: build_class(getattr(file.classes, c), file) for c in CLASSES},
        link=build_link(file.link),
    )


def worst_cooling(file: CoolingFile, assets: Mapping[str, AssetFile]) -> float:
    """kW of cooling per kW of IT in the worst weather; of a plant between its idle and its full load at HOTTEST_C."""
    if file.plant is None:
        return max(file.fraction_at_10c, file.fraction_at_40c)
    return worst_fraction(CoolingPlant(**file.plant.model_dump()), idle_heat_kw(file, assets), HOTTEST_C)


def idle_heat_kw(file: CoolingFile, assets: Mapping[str, AssetFile]) -> float:
    """Heat of the clusters it cools when they have no work."""
    return sum(cluster.idle_kw for i in file.cools if isinstance(cluster := assets.get(i), ClusterFile))


def build_cooling(name: str, file: CoolingFile, assets: Mapping[str, AssetFile]) -> Cooling:
    """A cooling system; without a rating it can follow the whole rating of what it cools in the worst weather."""
    worst = worst_cooling(file, assets)
    cooled = [a for c in file.cools if isinstance(a := assets.get(c), ClusterFile)]
    return Cooling(
        id=name,
        fraction_at_10c=worst if file.plant else file.fraction_at_10c,
        fraction_at_40c=worst if file.plant else file.fraction_at_40c,
        lag_s=file.lag_s,
        rating_kw=worst * sum(rating_kw(c) for c in cooled) if file.rating_kw is None else file.rating_kw,
        cools=tuple(file.cools),
        link=build_link(file.link),
        plant=CoolingPlant(**file.plant.model_dump()) if file.plant is not None else None,
        least_heat_kw=idle_heat_kw(file, assets) if file.plant is not None else 0.0,
    )
