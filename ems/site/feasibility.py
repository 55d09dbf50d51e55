"""Sites that cannot work, found by arithmetic before the first register is read."""

from __future__ import annotations

from collections.abc import Iterator

from ems.assets.ups.model import Ups
from ems.errors import Complaint
from ems.site.build import build_ups, contract_caps, fixed_kw, overhead, rating_kw, worst_cooling, worst_gain, worst_loss_fraction
from ems.site.schema import FeederFile, SiteFile
from ems.site.schema_assets import BatteryFile, ClusterFile, CoolingFile, FixedLoadFile, UpsFile
from ems.site.source import Source

SLACK = 1.0 + 1e-9  # rounding of sums that meet a limit exactly


def impossibilities(source: Source, file: SiteFile) -> list[Complaint]:
    """Every reason why a valid file describes a site that cannot hold its limits or its reserve."""
    limits = [limit.rated_kw for limit in file.point_of_connection.limits if limit.holds_always]
    short = file.point_of_connection.import_limit_kw
    limit_kw = min([*limits, *([short] if short is not None else [])], default=None)
    if limit_kw is None:
        return []
    limit_kw /= worst_gain(file.feeders)
    idle = list(idle_complaints(source, file, limit_kw))
    caps = {} if idle else contract_caps(file.assets, limit_kw)
    return [
        *idle,
        *cap_complaints(source, file, limit_kw, caps),
        *feeder_load_complaints(source, file, caps),
        *ups_complaints(source, file, caps),
        *plant_complaints(source, file, caps),
    ]


def idle_complaints(source: Source, file: SiteFile, limit_kw: float) -> Iterator[Complaint]:
    """The import limit carries the fixed load, and the clusters at idle in the worst weather."""
    fixed = fixed_kw(file.assets)
    idle = sum(a.idle_kw * overhead(name, file.assets) for name, a in file.assets.items() if isinstance(a, ClusterFile))
    where = ("point_of_connection", "import_limit_kw")
    if limit_kw <= fixed:
        yield source.complaint(where, f"more than the fixed load of {fixed:g} kW", limit_kw)
    elif limit_kw < fixed + idle:
        yield source.complaint(where, f"at least {fixed + idle:.0f} kW: fixed load, idle clusters, their cooling and losses", limit_kw)


def cap_complaints(source: Source, file: SiteFile, limit_kw: float, caps: dict[str, float]) -> Iterator[Complaint]:
    """Contract caps lie between idle and rating and together hold the import limit without storage."""
    for name, cap in caps.items():
        cluster = file.assets[name]
        assert isinstance(cluster, ClusterFile)
        if not cluster.idle_kw <= cap <= rating_kw(cluster) * SLACK:
            expected = f"between idle_kw and rating_kw ({cluster.idle_kw:g} to {rating_kw(cluster):g})"
            yield source.complaint(("assets", name, "contract_cap_kw"), expected, round(cap, 3))
    total = fixed_kw(file.assets) + sum(cap * overhead(name, file.assets) for name, cap in caps.items())
    if total > limit_kw * SLACK:
        for name in caps:
            if getattr(file.assets[name], "contract_cap_kw", None) is not None:
                expected = f"caps that hold the import limit of {limit_kw:g} kW without storage (all caps together need {total:.0f} kW)"
                yield source.complaint(("assets", name, "contract_cap_kw"), expected)


def feeder_load_complaints(source: Source, file: SiteFile, caps: dict[str, float]) -> Iterator[Complaint]:
    """A feeder carries what hangs below it when every cluster is at its contract cap and no store helps."""
    for number, feeder in enumerate(file.feeders):
        load = sum(load_kw(name, file, caps) for name in below(feeder, file))
        least = min((share for _, share in feeder.limit_by_ambient_c), default=1.0)
        other = next((f for f in file.feeders if f.id == feeder.partner), None)
        if other is not None:
            load += sum(load_kw(name, file, caps) for name in below(other, file))
        load *= (1.0 + feeder.loss_fraction) * worst_gain(file.feeders, feeder.id)
        if caps and load > feeder.rated_kw * least * SLACK:
            expected = f"at least {load / least:.0f} kW, the load below it at contract caps without storage" + (
                f", with that of its partner {feeder.partner}" if other is not None else ""
            )
            yield source.complaint(("feeders", number, "limit_kw"), expected)


def load_kw(name: str, file: SiteFile, caps: dict[str, float]) -> float:
    """What one asset draws with every cluster at its contract cap in the worst weather and stores at rest."""
    asset = file.assets[name]
    if isinstance(asset, ClusterFile):
        return caps.get(name, 0.0)
    if isinstance(asset, UpsFile):
        return worst_loss_fraction(asset, file.assets) * sum(caps.get(c, 0.0) for c in asset.carries)
    if isinstance(asset, CoolingFile):
        return worst_cooling(asset, file.assets) * sum(caps.get(c, 0.0) for c in asset.cools)
    if isinstance(asset, BatteryFile):
        return asset.auxiliary_kw * asset.strings
    return asset.power_kw if isinstance(asset, FixedLoadFile) else 0.0


def below(feeder: FeederFile, file: SiteFile) -> list[str]:
    """The known assets on a feeder and on every feeder under it."""
    ids, found = {feeder.id}, list[FeederFile]([feeder])
    grown = True
    while grown:
        more = [f for f in file.feeders if f.parent in ids and f.id not in ids]
        ids |= {f.id for f in more}
        found += more
        grown = bool(more)
    return [name for f in found for name in f.assets if name in file.assets]


def ups_complaints(source: Source, file: SiteFile, caps: dict[str, float]) -> Iterator[Complaint]:
    """A UPS carries its clusters at their contract caps, and its energy is enough for the promised minutes."""
    for name, asset in file.assets.items():
        if isinstance(asset, UpsFile):
            ups = build_ups(name, asset, file.assets)
            load = sum(caps.get(c, 0.0) for c in asset.carries)
            if load > ups.firm_kw * SLACK:
                least_kw = load * asset.rating_kw / ups.firm_kw
                expected = f"at least {least_kw:.0f} kW, so that the contract caps of what it carries hold without its redundant blocks"
                plain = f"at least {load:.0f} kW, the contract caps of what it carries"
                yield source.complaint(("assets", name, "rating_kw"), expected if asset.redundant_blocks else plain)
            yield from reserve_complaints(source, ups)


def plant_complaints(source: Source, file: SiteFile, caps: dict[str, float]) -> Iterator[Complaint]:
    """A chilled-water plant removes the heat of its clusters at their contract caps without its redundant units."""
    for name, asset in file.assets.items():
        if isinstance(asset, CoolingFile) and asset.plant is not None:
            heat = sum(caps.get(c, 0.0) for c in asset.cools)
            share = (asset.plant.units - asset.plant.redundant_units) / asset.plant.units
            if heat > asset.plant.capacity_kw * share * SLACK:
                expected = f"at least {heat / share:.0f} kW: the contract caps of what it cools, without its redundant units"
                yield source.complaint(("assets", name, "plant", "capacity_kw"), expected)


def reserve_complaints(source: Source, ups: Ups) -> Iterator[Complaint]:
    """The reserve at its floor fits into the store, and is in it at the start."""
    needed = ups.reserve_soc(0.0)
    if needed > 1.0:
        usable, reserve = ups.usable_kwh(1.0), ups.reserve_kwh(0.0)
        expected = f"minutes that the store can last: {usable:.0f} kWh are usable, {reserve:.0f} kWh are needed at the reserve floor"
        yield source.complaint(("assets", ups.id, "ride_through_min"), expected)
    elif ups.initial_soc < needed:
        yield source.complaint(("assets", ups.id, "initial_soc"), f"at least {needed:.3f}, where the reserve begins", ups.initial_soc)
