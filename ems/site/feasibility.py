"""Sites that cannot work, found by arithmetic before the first register is read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from ems.assets.ups.model import Ups
from ems.errors import Complaint
from ems.site.build import build_ups, contract_caps, fixed_kw, overhead, rating_kw, worst_cooling, worst_gain, worst_loss_fraction
from ems.site.schema import FeederFile, LimitFile, PointOfConnectionFile, SiteFile
from ems.site.schema_assets import BatteryFile, ClusterFile, CoolingFile, FixedLoadFile, UpsFile
from ems.site.source import Source
from ems.site.yaml_reader import KeyPath

SLACK = 1.0 + 1e-9  # rounding of sums that meet a limit exactly


def impossibilities(source: Source, file: SiteFile) -> list[Complaint]:
    """Every reason why a valid file describes a site that cannot hold its limits or its reserve."""
    limit = lasting_limit(file.point_of_connection)
    if limit is None:
        return []
    idle = list(idle_complaints(source, file, limit))
    caps = {} if idle else contract_caps(file.assets, limit.kw / worst_gain(file.feeders))
    return [
        *idle,
        *cap_complaints(source, file, limit, caps),
        *feeder_load_complaints(source, file, caps),
        *ups_complaints(source, file, caps),
        *plant_complaints(source, file, caps),
    ]


class Rating(NamedTuple):
    """The lowest of several ratings in kW, and the key it is written at."""

    kw: float
    where: KeyPath
    power_factor: float | None = None  # of a rating written in kVA

    def words(self, kw: float) -> str:
        """A power as this key would say it."""
        return f"{kw:.0f} kW" if self.power_factor is None else f"{kw / self.power_factor:.0f} kVA"


def lasting_limit(file: PointOfConnectionFile) -> Rating | None:
    """The lowest limit on import that always holds; None without any."""
    where: KeyPath = ("point_of_connection",)
    found = [Rating(file.import_limit_kw, (*where, "import_limit_kw"))] if file.import_limit_kw is not None else []
    found += [rating_of_limit(limit, (*where, "limits", n)) for n, limit in enumerate(file.limits) if limit.holds_always]
    return min(found, key=lambda rating: rating.kw, default=None)


def rating_of_limit(file: LimitFile, where: KeyPath) -> Rating:
    """What one record allows."""
    return Rating(file.rated_kw, (*where, "kva"), file.power_factor) if file.kw is None else Rating(file.kw, (*where, "kw"))


def rating_of_feeder(file: FeederFile, where: KeyPath) -> Rating:
    """What binds a feeder: limit_kw, or kva at its power factor."""
    if file.rated_kw < file.limit_kw:
        return Rating(file.rated_kw, (*where, "kva"), file.power_factor)
    return Rating(file.limit_kw, (*where, "limit_kw"))


def idle_complaints(source: Source, file: SiteFile, limit: Rating) -> Iterator[Complaint]:
    """The import limit carries the fixed load, and the clusters at idle in the worst weather."""
    gain = worst_gain(file.feeders)
    fixed = fixed_kw(file.assets) * gain
    idle = sum(a.idle_kw * overhead(name, file.assets) for name, a in file.assets.items() if isinstance(a, ClusterFile)) * gain
    if limit.kw <= fixed:
        yield source.complaint(limit.where, f"more than {limit.words(fixed)}: fixed loads and what batteries draw themselves")
    elif limit.kw < fixed + idle:
        expected = f"at least {limit.words(fixed + idle)}: fixed loads, what batteries draw, idle clusters, their cooling and losses"
        yield source.complaint(limit.where, expected)


def cap_complaints(source: Source, file: SiteFile, limit: Rating, caps: dict[str, float]) -> Iterator[Complaint]:
    """Contract caps lie between idle and rating and together hold the import limit without storage."""
    for name, cap in caps.items():
        cluster = file.assets[name]
        assert isinstance(cluster, ClusterFile)
        if not cluster.idle_kw <= cap <= rating_kw(cluster) * SLACK:
            expected = f"between idle_kw and rating_kw ({cluster.idle_kw:g} to {rating_kw(cluster):g})"
            yield source.complaint(("assets", name, "contract_cap_kw"), expected, round(cap, 3))
    total = fixed_kw(file.assets) + sum(cap * overhead(name, file.assets) for name, cap in caps.items())
    total *= worst_gain(file.feeders)
    if total > limit.kw * SLACK:
        for name in caps:
            if getattr(file.assets[name], "contract_cap_kw", None) is not None:
                expected = f"caps that hold the import limit of {limit.kw:g} kW without storage (all caps together need {total:.0f} kW)"
                yield source.complaint(("assets", name, "contract_cap_kw"), expected)


def feeder_load_complaints(source: Source, file: SiteFile, caps: dict[str, float]) -> Iterator[Complaint]:
    """A feeder carries what hangs below it when every cluster is at its contract cap and no store helps."""
    for number, feeder in enumerate(file.feeders):
        load = sum(load_kw(name, file, caps) for name in below(feeder, file))
        other = next((f for f in file.feeders if f.id == feeder.partner), None)
        if other is not None:
            load += sum(load_kw(name, file, caps) for name in below(other, file))
        load *= (1.0 + feeder.loss_fraction) * worst_gain(file.feeders, feeder.id)
        if caps:
            with_partner = f", with that of its partner {feeder.partner}" if other is not None else ""
            yield from overload(source, feeder, ("feeders", number), load, with_partner)


def overload(source: Source, feeder: FeederFile, where: KeyPath, load: float, with_partner: str) -> Iterator[Complaint]:
    """The key that keeps a feeder below its load: its rating, or the share that heat leaves of one large enough by itself."""
    rating = rating_of_feeder(feeder, where)
    least = min((share for _, share in feeder.limit_by_ambient_c), default=1.0)
    what = f"the load below it at contract caps without storage{with_partner}"
    if load > rating.kw * SLACK:
        yield source.complaint(rating.where, f"at least {rating.words(load / (least or 1.0))}, {what}")
    elif load > rating.kw * least * SLACK:
        expected = f"shares of at least {math.ceil(1000.0 * load / rating.kw) / 1000.0:g}: {load:.0f} kW are {what}"
        yield source.complaint((*where, "limit_by_ambient_c"), expected)


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
